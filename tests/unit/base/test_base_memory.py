import time

import pytest
import torch

from hanlin.base.errors import TrainingError
from hanlin.base.memory import PeakMemory, memory_errors, used_bytes

CPU = torch.device("cpu")


def test_the_peak_sees_what_was_held_only_for_a_moment() -> None:
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
