"""Checkpoints of a fine-tuning, `checkpoints/step-N/`: only what trains, for the rest stays in the base's own folder.

So a checkpoint of an adapter is as small as the adapter, and one of several tasks on a body holds that body once.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from hanlin.base.files import atomic_folder, disk_errors
from hanlin.base.manifest import write_manifest
from hanlin.checkpoint.resume import KIND
from hanlin.checkpoint.tensor_files import save_tensors

_WEIGHTS, _OPTIMIZER, _STATE = "trained.safetensors", "optimizer.safetensors", "state.json"


def save_trained(
    folder: Path,
    model: nn.Module,
    tensors: Mapping[str, Tensor],
    values: dict[str, Any],
    config: dict[str, Any],
    inputs: dict[str, str],
) -> None:
    """Write the parameters that train, `tensors` and `values` of the train state, and the run they belong to.

    The folder appears whole or not at all.
    """
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    with atomic_folder(folder) as fresh, disk_errors(folder):
        for name, held in ((_WEIGHTS, trained), (_OPTIMIZER, tensors)):
            save_tensors(fresh / name, {key: one.detach().cpu().contiguous() for key, one in held.items()})
        (fresh / _STATE).write_text(json.dumps(values) + "\n", "utf-8")
        write_manifest(fresh, KIND, config, inputs)


@torch.no_grad()
def load_trained(folder: Path, model: nn.Module) -> None:
    """Give the parameters of `model` that train the values of a checkpoint of the same run."""
    values = load_file(folder / _WEIGHTS)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parameter.copy_(values[name])


def load_trained_state(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The train state of a checkpoint."""
    return load_file(folder / _OPTIMIZER), json.loads((folder / _STATE).read_text("utf-8"))
