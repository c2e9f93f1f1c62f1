"""Tensors of several processes: each writes its own part into `shards/`, behind the training.

torch's DCP decides who writes what and puts any layout together again: what N processes wrote, M may read. The files
are safetensors that say in their header which part of each tensor they hold; nothing is pickled.
"""

import contextlib
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.staging import BlockingAsyncStager
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from hanlin.base.distributed import from_first, rank
from hanlin.base.errors import CheckpointError
from hanlin.base.files import atomic_folder, disk_errors
from hanlin.base.language import Text
from hanlin.base.manifest import write_manifest
from hanlin.checkpoint.resume import KIND, Checkpoint
from hanlin.checkpoint.tensor_files import SHARDS

_WEIGHTS, _STATE = "weights/", "state/"


class BackgroundWriter:
    """Writes one checkpoint at a time while training goes on. Every process has one, and calls it alike."""

    def __init__(self) -> None:
        # Of its own, for its messages go at the same time as those of the training.
        self._group = dist.new_group(backend="gloo")
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    def save(self, folder: Path, checkpoint: Checkpoint, then: Callable[[], None] = lambda: None) -> None:
        """As `save_checkpoint`, but return when all tensors are copied: they are written after what came before.

        The first process writes the rest when all parts are there, the manifest last; only then does the folder
        appear, and `then` is called there. Raises what went wrong with the checkpoint before.
        """
        self.wait()
        appearing = contextlib.ExitStack()
        fresh = from_first(lambda: appearing.enter_context(atomic_folder(folder)))
        _require_shared(fresh)
        copies = BlockingAsyncStager().stage(_tensors(checkpoint))
        self._thread = threading.Thread(
            target=self._write, args=(appearing, fresh, copies, checkpoint, then), daemon=True
        )
        self._thread.start()

    def wait(self) -> None:
        """Return when nothing is left to write; raise what went wrong: `DiskError` for a full disk."""
        if self._thread is not None:
            self._thread.join()
        self._thread, failure, self._failure = None, self._failure, None
        if failure is not None:
            raise failure

    def _write(
        self,
        appearing: contextlib.ExitStack,
        fresh: Path,
        copies: dict[str, Any],
        checkpoint: Checkpoint,
        then: Callable[[], None],
    ) -> None:
        try:
            with appearing, _causes(fresh):
                writer = HuggingFaceStorageWriter(str(fresh / SHARDS), save_distributed=True)
                save(copies, storage_writer=writer, process_group=self._group)
                if rank() == 0:
                    checkpoint.write(fresh, weights=False)
                    write_manifest(fresh, KIND, checkpoint.config, checkpoint.inputs)
            if rank() == 0:
                then()
        except BaseException as failure:  # it is raised where the training waits
            self._failure = failure


def _tensors(checkpoint: Checkpoint) -> dict[str, Any]:
    """The parameters of the model and the tensors of the train state."""
    weights = {_WEIGHTS + name: p.detach() for name, p in checkpoint.model.named_parameters()}
    return weights | {_STATE + name: tensor for name, tensor in checkpoint.tensors.items()}


def read_sharded_weights(folder: Path, model: nn.Module) -> None:
    """Fill the parameters of `model`, whole or distributed."""
    _read(folder, {_WEIGHTS + name: parameter.detach() for name, parameter in model.named_parameters()})


def read_sharded_state(folder: Path, model: nn.Module) -> dict[str, Tensor]:
    """The tensors of the train state; one of the shape of its parameter is laid out over processes as that is."""
    parameters = dict(model.named_parameters())
    targets = {}
    for key, (shape, dtype) in _entries(folder).items():
        if not key.startswith(_STATE):
            continue
        like = parameters.get(key.removeprefix(_STATE).rsplit("/", 1)[0])
        if like is not None and like.shape == shape:
            targets[key] = torch.empty_like(like.detach(), dtype=dtype)
        else:
            targets[key] = torch.empty(shape, dtype=dtype)
    _read(folder, targets)
    return {key.removeprefix(_STATE): tensor for key, tensor in targets.items()}


def _entries(folder: Path) -> dict[str, tuple[torch.Size, torch.dtype]]:
    """Whole shape and dtype of every tensor."""
    found = HuggingFaceStorageReader(str(folder / SHARDS)).read_metadata().state_dict_metadata
    return {
        name: (entry.size, entry.properties.dtype)
        for name, entry in found.items()
        if isinstance(entry, TensorStorageMetadata)
    }


def _read(folder: Path, targets: Mapping[str, Tensor]) -> None:
    """Fill `targets`; `CheckpointError` for one that is not there or has another shape."""
    found = _entries(folder)
    for name, target in targets.items():
        shape = found[name][0] if name in found else None
        if shape != target.shape:
            raise _does_not_fit(folder, name, shape, target.shape)
    reader = HuggingFaceStorageReader(str(folder / SHARDS))
    with warnings.catch_warnings(), _causes(folder):
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        load(dict(targets), storage_reader=reader, no_dist=True)  # each process reads what it needs


@contextlib.contextmanager
def _causes(folder: Path) -> Iterator[None]:
    """Raise the first process's own error in the place of DCP's collection of them."""
    with disk_errors(folder):
        try:
            yield
        except CheckpointException as collection:
            cause, _ = next(iter(collection.failures.values()))
            raise cause from collection


def _require_shared(folder: Path) -> None:
    if not folder.is_dir():
        raise CheckpointError(
            Text(f"Process {rank()} does not see {folder}, which process 0 has made.",
                 f"{rank()} 号进程看不到 0 号进程建立的 {folder}。"),
            Text("The run's folder=... must be on a file system that all machines share.",
                 "运行目录 folder=…… 必须位于所有机器共享的文件系统上。"),
        )  # fmt: skip


def _does_not_fit(folder: Path, name: str, found: torch.Size | None, wanted: torch.Size) -> CheckpointError:
    has = "nothing" if found is None else str(tuple(found))
    return CheckpointError(
        Text(f"{folder}: {name} should have shape {tuple(wanted)}, there is {has}.",
             f"{folder}：{name} 的形状应为 {tuple(wanted)}，实际为 {has}。"),
        Text("Use the checkpoint with the model it was written for.", "请将检查点用于写出它的模型。"),
    )  # fmt: skip
