import platform
import subprocess
import sys
import time

import pytest
import torch

from hanlin.base.errors import TrainingError
from hanlin.base.memory import PeakMemory, memory_errors, release_freed_memory, used_bytes

CPU = torch.device("cpu")


def test_the_peak_sees_what_was_held_only_for_a_moment() -> None:
    release_freed_memory()  # what earlier tests have freed would be taken without being seen
    before = used_bytes(CPU)
    with PeakMemory(CPU) as memory:
        held = torch.ones(50_000_000)
        time.sleep(0.05)
        del held
    assert memory.peak - before > 190_000_000
    assert memory.peak >= used_bytes(CPU)


def test_refused_memory_is_a_message_and_other_errors_stay_what_they_are() -> None:
    with pytest.raises(TrainingError, match="micro_rows") as caught, memory_errors():
        raise RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried 1 byte"
        )
    assert "can't allocate memory: you tried 1 byte" in caught.value.problem.en
    with pytest.raises(TrainingError), memory_errors():
        raise MemoryError
    with pytest.raises(RuntimeError, match="shapes"), memory_errors():
        raise RuntimeError("shapes")


FAULTS = """
import resource, sys, torch
from hanlin.base.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
weight = torch.ones(10_000_000, requires_grad=True)
def step():
    ((weight * 2).sin() * weight).sum().backward()
    weight.grad = None
for _ in range(4):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="elsewhere it does nothing")
def test_kept_memory_needs_no_new_pages() -> None:
    faults = {
        mode: int(
            subprocess.run([sys.executable, "-c", FAULTS, mode], capture_output=True, check=True).stdout
        )
        for mode in ("keep", "leave")
    }
    assert faults["keep"] < faults["leave"] / 4
