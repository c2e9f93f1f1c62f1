"""Checkpoints of a run: `checkpoints/step-N/`, each a model folder with a `resume/` folder inside."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn

from hanlin.base.errors import CheckpointError, NewerFormatError
from hanlin.base.files import atomic_folder, disk_errors, recover_folder
from hanlin.base.language import Text
from hanlin.base.manifest import NAME as MANIFEST
from hanlin.base.manifest import read_manifest, verify_files, write_manifest
from hanlin.base.progress import console
from hanlin.checkpoint.defaults import GenerationDefaults
from hanlin.checkpoint.folder import write_model_files
from hanlin.checkpoint.tensor_files import is_sharded, save_tensors
from hanlin.model.assemble import Model
from hanlin.tokenizer.tokenizer import Tokenizer

KIND = "checkpoint"


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds: a model, `tensors` and `values` of the train state, and the run it belongs to."""

    model: Model
    tokenizer: Tokenizer
    tensors: Mapping[str, Tensor]
    values: dict[str, Any]
    config: dict[str, Any]
    inputs: dict[str, str]

    def write(self, folder: Path, weights: bool) -> None:
        """Write everything but manifest and tensors, and the weights if asked for."""
        write_model_files(folder, self.model, self.tokenizer, GenerationDefaults(), weights=weights)
        (folder / "resume").mkdir()
        (folder / "resume" / "state.json").write_text(json.dumps(self.values) + "\n", "utf-8")


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write one checkpoint that appears whole or not at all."""
    with atomic_folder(folder) as fresh, disk_errors(folder):
        checkpoint.write(fresh, weights=True)
        save_tensors(
            fresh / "resume" / "optimizer.safetensors",
            {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()},
        )
        write_manifest(fresh, KIND, checkpoint.config, checkpoint.inputs)


def load_train_state(folder: Path, model: nn.Module) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The train state of a checkpoint, its tensors whole, or of a sharded one laid out as the parameters of `model`."""
    if is_sharded(folder):
        from hanlin.checkpoint.sharded import read_sharded_state

        tensors = read_sharded_state(folder, model)
    else:
        tensors = load_file(folder / "resume" / "optimizer.safetensors")
    return tensors, json.loads((folder / "resume" / "state.json").read_text("utf-8"))


def last_checkpoint(run: Path) -> Path | None:
    """The newest undamaged checkpoint of a run; damaged ones are named on the way. None if there is none.

    Raises `NewerFormatError`: training anew would throw away what a newer Hanlin trained.
    """
    for folder in sorted(_checkpoints(run), key=_step, reverse=True):
        try:
            verify_files(folder, read_manifest(folder, KIND))
            return folder
        except NewerFormatError:
            raise
        except CheckpointError as error:
            console.print(
                str(
                    Text(
                        f"Passing over {folder.name}: {error.problem.en}",
                        f"跳过 {folder.name}：{error.problem.zh}",
                    )
                ),
                markup=False,
            )
    return None


def keep_checkpoints(run: Path, steps: set[int]) -> None:
    """Delete every checkpoint of a run but those of `steps`, and what a kill left half-written."""
    for unfinished in (run / "checkpoints").glob(".step-*.new"):
        shutil.rmtree(unfinished, ignore_errors=True)
    for folder in _checkpoints(run):
        if _step(folder) not in steps:
            shutil.rmtree(folder, ignore_errors=True)


def checkpoint_steps(run: Path) -> list[int]:
    """The steps of which a run has checkpoints, in order."""
    return sorted(map(_step, _checkpoints(run)))


def checkpoint_folder(run: Path, step: int) -> Path:
    """Where the checkpoint of a step lives."""
    return run / "checkpoints" / f"step-{step}"


def _checkpoints(run: Path) -> list[Path]:
    for old in (run / "checkpoints").glob(".step-*.old"):
        recover_folder(old.with_name(old.name.removeprefix(".").removesuffix(".old")))
    return [
        path
        for path in (run / "checkpoints").glob("step-*")
        if path.name.removeprefix("step-").isdecimal() and (path / MANIFEST).is_file()
    ]


def _step(folder: Path) -> int:
    return int(folder.name.removeprefix("step-"))
