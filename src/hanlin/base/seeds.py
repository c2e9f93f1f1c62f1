"""Seeds, and the complete state of every random generator a run may touch."""

import random
from typing import Any

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and torch's generators (all devices)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def capture_random_state() -> dict[str, Any]:
    """The state of all generators, of GPUs that of the current one, as values that JSON can hold."""
    _, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    cuda = [torch.cuda.get_rng_state()] if torch.cuda.is_available() else []
    return {
        "python": random.getstate(),
        "numpy": [np.asarray(keys).tolist(), int(position), int(has_gauss), float(gauss)],
        "torch": _to_hex(torch.get_rng_state()),
        "cuda": [_to_hex(state) for state in cuda],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Put back what `capture_random_state` gave, on the current GPU if there is one."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    keys, position, has_gauss, numpy_gauss = state["numpy"]
    np.random.set_state(("MT19937", np.array(keys, np.uint32), position, has_gauss, numpy_gauss))
    torch.set_rng_state(_from_hex(state["torch"]))
    if torch.cuda.is_available() and state["cuda"]:  # one, or those of all GPUs in checkpoints of before
        index = torch.cuda.current_device() if len(state["cuda"]) == torch.cuda.device_count() else 0
        torch.cuda.set_rng_state(_from_hex(state["cuda"][index]))


def _to_hex(state: torch.Tensor) -> str:
    return bytes(state.cpu().numpy()).hex()


def _from_hex(value: str) -> torch.Tensor:
    return torch.frombuffer(bytearray.fromhex(value), dtype=torch.uint8)
