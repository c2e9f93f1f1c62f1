"""The language model that is served: one version at a time, and those before it while their streams end.

Everything here is touched on the event loop only, but for what loads a model.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from hanlin.base.errors import HanlinError
from hanlin.base.language import Text
from hanlin.base.memory import release_freed_memory
from hanlin.checkpoint.folder import find_model
from hanlin.generate.language_model import LanguageModel
from hanlin.serve.batcher import Batcher
from hanlin.serve.config import ServeConfig
from hanlin.serve.metrics import Metrics
from hanlin.serve.problems import ApiProblem

log = logging.getLogger("hanlin.serve")


@dataclass(frozen=True)
class Source:
    """Where the model comes from, and how a version of it is opened, from there or from another folder."""

    folder: Path
    open: Callable[[Path], LanguageModel]


_LOOKS = 0.05
"""Seconds between two looks at whether the streams of an old version have ended."""


@dataclass(eq=False)
class Version:
    """A model and what runs it. held: requests that are being prepared for it and are not submitted yet."""

    model: LanguageModel
    batcher: Batcher
    held: int = 0

    @property
    def idle(self) -> bool:
        """Whether no request has anything to do with it."""
        return not self.held and not self.batcher.active


class Versions:
    """The current version and the old ones that still run streams."""

    def __init__(
        self, model: LanguageModel, config: ServeConfig, metrics: Metrics, source: Source | None
    ) -> None:
        """source: of new versions; None: there is only this one."""
        self._config, self._metrics, self._source = config, metrics, source
        self._current = self._version(model)
        self._leaving: dict[Version, asyncio.Task[None]] = {}
        self._loading = asyncio.Lock()
        self.stopping = False

    @property
    def model(self) -> LanguageModel:
        """The current version's."""
        return self._current.model

    @property
    def alive(self) -> bool:
        """Whether the engine of the current version works."""
        return self._current.batcher.alive and not self.stopping

    @property
    def running(self) -> int:
        """Generations that are submitted and not finished, of all versions."""
        return sum(version.batcher.active for version in (self._current, *self._leaving))

    @contextmanager
    def use(self) -> Iterator[Version]:
        """The current version, which stays until what is submitted inside has ended."""
        version = self._current
        version.held += 1
        try:
            yield version
        finally:
            version.held -= 1

    def start(self) -> None:
        """Start its thread; call on the event loop that will submit."""
        self._current.batcher.start()

    async def stop(self) -> None:
        """End all versions; what still runs fails."""
        self.stopping = True
        leaving = dict(self._leaving)
        for version, task in leaving.items():
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await version.batcher.stop()
        await self._current.batcher.stop()

    async def reload(self, folder: Path | None) -> LanguageModel:
        """Load a new version beside the current one and give it all new requests; its name stays.

        Raises `ApiProblem` 409 where it cannot be loaded: the current version goes on serving.
        """
        if self._source is None:
            raise _refused(Text("This server cannot load another version.", "本服务器无法加载其他版本。"))
        if self._loading.locked():
            raise _refused(Text("A version is being loaded already.", "已有一个版本正在加载。"))
        async with self._loading:
            try:
                model = await asyncio.to_thread(self._open, self._source, folder)
            except HanlinError as error:
                raise _refused(error.problem) from error
            except (MemoryError, RuntimeError, OSError) as error:
                log.exception("a new version could not be loaded")
                raise _refused(Text(f"{error}.", f"{error}。")) from error
            old, self._current = self._current, self._version(model)
            self._current.batcher.start()
            self._leaving[old] = asyncio.create_task(self._retire(old))
            log.info(
                "a new version of %s is served; %d texts end on the old one", model.name, old.batcher.active
            )
        return model

    def _open(self, source: Source, folder: Path | None) -> LanguageModel:
        place, old = folder or source.folder, self._current.model
        _check_memory(place, old)
        model = source.open(place)
        model.name = old.name
        return model

    def _version(self, model: LanguageModel) -> Version:
        # An engine of its own, over the same weights: `model.generate` elsewhere must not step these requests.
        config = self._config
        engine = model.engine.another(config.max_rows)
        return Version(
            model,
            Batcher(engine, config.max_queue, config.request_timeout, self._metrics, config.stream_interval),
        )

    async def _retire(self, version: Version) -> None:
        while not version.idle:
            await asyncio.sleep(_LOOKS)
        await version.batcher.stop()
        del self._leaving[version]
        del version
        await asyncio.to_thread(release_freed_memory)


def needed_bytes(folder: Path, model: LanguageModel) -> int:
    """The most memory that a version in `folder` takes to load; PyTorch computes 16-bit weights in float32."""
    path = find_model(folder)
    files = [path] if path.is_file() else list(path.glob("*.safetensors"))
    stored = sum(file.stat().st_size for file in files)
    return stored * (2 if model.engine_name == "torch" else 1)


def _check_memory(folder: Path, model: LanguageModel) -> None:
    """Raise `ApiProblem` where a version in `folder` would not fit beside `model`."""
    needed = needed_bytes(folder, model)
    if model.compute.device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(model.compute.device)
    else:
        free = psutil.virtual_memory().available
    if needed > free:
        gib = 2**30
        raise _refused(
            Text(
                f"The new version may need {needed / gib:.1f} GiB of memory, and {free / gib:.1f} GiB are free.",
                f"新版本最多需要 {needed / gib:.1f} GiB 内存，而可用内存为 {free / gib:.1f} GiB。",
            )
        )


def _refused(why: Text) -> ApiProblem:
    log.warning("no new version: %s The old one goes on serving.", why.en)
    return ApiProblem(
        409,
        Text(f"{why.en} The old version goes on serving.", f"{why.zh}旧版本继续提供服务。"),
        code="not_reloaded",
    )
