import time

import torch

from hanlin.base.memory import PeakMemory, used_bytes

CPU = torch.device("cpu")


def test_the_peak_sees_what_was_held_only_for_a_moment() -> None:
    before = used_bytes(CPU)
    with PeakMemory(CPU) as memory:
        held = torch.ones(50_000_000)
        time.sleep(0.05)
        del held
    assert memory.peak - before > 190_000_000
    assert memory.peak >= used_bytes(CPU)
