"""How much memory cached tokens may take."""

import psutil
import torch

from hanlin.generate.runner import Runner

SHARE = 0.25
"""Of the memory that is free when the engine is made."""


def affordable_tokens(runner: Runner, rows: int) -> int:
    """Tokens of `rows` whole windows, or as many as `SHARE` of the free memory holds, if that is fewer."""
    if runner.device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(runner.device)
    else:
        free = psutil.virtual_memory().available
    return max(2, min(rows * runner.window, int(SHARE * free) // runner.bytes_per_token))
