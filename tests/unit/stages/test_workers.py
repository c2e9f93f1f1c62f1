"""Worker processes: what kills one ends its job alone."""

import os
import signal

from hanlin.stages.workers import Died, work_through


def _ends_itself(number: int) -> int:
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def test_a_job_whose_process_is_killed_does_not_end_the_others() -> None:
    outcomes = dict(work_through(_ends_itself, iter(range(4)), processes=1))
    assert outcomes == {0: 0, 1: Died("SIGKILL"), 2: 4, 3: 9}
