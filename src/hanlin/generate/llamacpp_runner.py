"""The runner on llama.cpp: a GGUF file, through the C interface of llama-cpp-python.

Our tokenizer and our sampling stay in front of it. N tokens or asked tokens, V vocabulary.
"""

import ctypes
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hanlin.base.device import one_thread
from hanlin.base.errors import CheckpointError, MissingExtra, RequestError
from hanlin.base.language import Text
from hanlin.base.progress import console
from hanlin.generate.runner import Chunk
from hanlin.model.config import CoreConfig

BATCH = 512
"""Tokens that llama.cpp is handed at once."""

_FIRST_ROOM = 1024
"""Tokens for which memory is taken at first; it doubles when the texts outgrow it."""

_ALL_LAYERS = 10_000
_ERROR = 4
"""The level of what llama.cpp says when something fails. Source: ggml.h, ggml_log_level."""


class LlamaCppModel:
    """The weights of a GGUF file, mapped by llama.cpp for as long as anybody refers to them."""

    def __init__(
        self, path: Path, config: CoreConfig, gpu: bool = False, folder: TemporaryDirectory[str] | None = None
    ) -> None:
        """path: a .gguf file, of which `config` are the settings. gpu: put all layers there. folder: where the file
        lies, if that goes with the model.

        Raises `MissingExtra` without llama-cpp-python, `CheckpointError` for a file that llama.cpp cannot open.
        """
        self.library, self.config, self._folder = llama_cpp(), config, folder
        self.library.llama_backend_init()
        settings = self.library.llama_model_default_params()
        settings.n_gpu_layers = _ALL_LAYERS if gpu else 0
        self.pointer = self.library.llama_model_load_from_file(str(path).encode(), settings)
        if not self.pointer:
            raise _not_opened(path)
        vocabulary = self.library.llama_model_get_vocab(self.pointer)
        self.vocab_size = int(self.library.llama_vocab_n_tokens(vocabulary))

    def __del__(self) -> None:
        if getattr(self, "pointer", None):
            self.library.llama_model_free(self.pointer)
        folder = getattr(self, "_folder", None)
        if folder is not None:
            folder.cleanup()


class LlamaCppRunner:
    """A GGUF model in llama.cpp, with one cache in float16 for all slots, which grows with what they hold together.

    What llama.cpp gives for a token differs in its last digits with how many go through it at once.
    """

    name = "llamacpp"
    adapters = None
    device = torch.device("cpu")

    def __init__(
        self, model: LlamaCppModel, slots: int = 8, window: int | None = None, threads: int | None = None
    ) -> None:
        """threads: default as many as torch uses."""
        config = model.config
        self.model, self.slots = model, slots
        self.window = min(window or config.window, config.window)
        self.bytes_per_token = 2 * config.cached_layers * config.kv_heads * config.head_size * 2
        self.vocab_size = model.vocab_size
        self._library = model.library
        self._threads = threads or torch.get_num_threads()
        self._lengths = [0] * slots
        self._room = 0
        self._context: Any = None
        self._batch = _Batch(self._library)

    def forward(self, chunks: Sequence[Chunk]) -> Tensor:
        """As `Runner`."""
        sizes = [len(chunk.ids) for chunk in chunks]
        ends = [self._lengths[chunk.slot] + size for chunk, size in zip(chunks, sizes, strict=True)]
        self._fit(sum(self._lengths) + sum(sizes))
        tokens_N = np.concatenate([np.asarray(chunk.ids, np.int32) for chunk in chunks])
        slots_N = np.repeat(np.array([chunk.slot for chunk in chunks], np.int32), sizes)
        places = [np.arange(end - size, end, dtype=np.int32) for end, size in zip(ends, sizes, strict=True)]
        places_N, asked_N = np.concatenate(places), np.zeros(len(tokens_N), np.int8)
        for chunk, end in zip(chunks, np.cumsum(sizes), strict=True):
            asked_N[end - chunk.asked : end] = 1
        parts = [slice(start, start + BATCH) for start in range(0, len(tokens_N), BATCH)]
        logits = [
            self._decode(tokens_N[part], slots_N[part], places_N[part], asked_N[part]) for part in parts
        ]
        for chunk, end in zip(chunks, ends, strict=True):
            self._lengths[chunk.slot] = end
        return torch.from_numpy(np.concatenate(logits))

    def another(self, slots: int) -> "LlamaCppRunner":
        """As `Runner`."""
        return LlamaCppRunner(self.model, slots, self.window, self._threads)

    def quiet(self) -> AbstractContextManager[None]:
        """As `Runner`."""
        return one_thread()

    def length(self, slot: int) -> int:
        """As `Runner`."""
        return self._lengths[slot]

    def truncate(self, slot: int, length: int) -> None:
        """As `Runner`."""
        assert length <= self._lengths[slot]
        if length < self._lengths[slot]:
            memory = self._library.llama_get_memory(self._context)
            assert self._library.llama_memory_seq_rm(memory, slot, length, -1)
        self._lengths[slot] = length

    def copy(self, source: int, target: int, length: int) -> None:
        """As `Runner`: both share the memory of these tokens."""
        assert length <= self._lengths[source]
        if source == target:
            return self.truncate(target, length)
        self.truncate(target, 0)
        if length:
            memory = self._library.llama_get_memory(self._context)
            self._library.llama_memory_seq_cp(memory, source, target, 0, length)
        self._lengths[target] = length

    def _decode(
        self,
        tokens_N: NDArray[np.int32],
        slots_N: NDArray[np.int32],
        places_N: NDArray[np.int32],
        asked_N: NDArray[np.int8],
    ) -> NDArray[np.float32]:
        """The logits asked of one batch."""
        batch = self._batch.filled(tokens_N, slots_N, places_N, asked_N)
        status = self._library.llama_decode(self._context, batch)
        if status:
            raise RuntimeError(f"llama_decode: {status}")
        asked = int(asked_N.sum())
        if not asked:
            return np.empty((0, self.vocab_size), np.float32)
        logits = self._library.llama_get_logits(self._context)
        return np.ctypeslib.as_array(logits, (asked, self.vocab_size))

    def _fit(self, room: int) -> None:
        """A context of at least so many tokens; what the old one held moves into it."""
        if room <= self._room:
            return
        self._room = min(self.slots * self.window, max(room, 2 * self._room, _FIRST_ROOM))
        held = [(slot, self._saved(slot)) for slot, length in enumerate(self._lengths) if length]
        self._free_context()
        self._context = self._open_context()
        for slot, state in held:
            assert self._library.llama_state_seq_set_data(self._context, state, len(state), slot)

    def _open_context(self) -> Any:
        settings = self._library.llama_context_default_params()
        settings.n_ctx, settings.n_seq_max = self._room, self.slots
        settings.kv_unified = (
            True  # one memory for all: texts of any length, and a shared beginning is held once
        )
        settings.n_batch = settings.n_ubatch = BATCH
        settings.n_threads = settings.n_threads_batch = self._threads
        settings.swa_full = True  # tokens outside a sliding window stay, so that a text can be cut back
        context = self._library.llama_init_from_model(self.model.pointer, settings)
        if not context:
            raise _no_memory(self._room * self.bytes_per_token)
        return context

    def _saved(self, slot: int) -> Any:
        """The cached keys and values of a slot."""
        size = self._library.llama_state_seq_get_size(self._context, slot)
        state = (ctypes.c_uint8 * size)()
        assert self._library.llama_state_seq_get_data(self._context, state, size, slot) == size
        return state

    def _free_context(self) -> None:
        if self._context is not None:
            self._library.llama_free(self._context)
            self._context = None

    def __del__(self) -> None:
        if getattr(self, "_context", None) is not None:
            self._free_context()


class _Batch:
    """The arrays that llama.cpp reads a batch from, which are filled again for each."""

    def __init__(self, library: Any) -> None:
        self.tokens_N, self.slots_N, self.places_N = (np.zeros(BATCH, np.int32) for _ in range(3))
        self.asked_N, self.ones_N = np.zeros(BATCH, np.int8), np.ones(BATCH, np.int32)
        start = self.slots_N.ctypes.data
        self.pointers_N = np.arange(
            start, start + 4 * BATCH, 4, dtype=np.uintp
        )  # each token has a list of slots
        self.batch = library.llama_batch()
        for field, array in (
            ("token", self.tokens_N),
            ("pos", self.places_N),
            ("n_seq_id", self.ones_N),
            ("seq_id", self.pointers_N),
            ("logits", self.asked_N),
        ):
            kind = type(getattr(self.batch, field))
            setattr(self.batch, field, ctypes.cast(array.ctypes.data, kind))

    def filled(
        self,
        tokens_N: NDArray[np.int32],
        slots_N: NDArray[np.int32],
        places_N: NDArray[np.int32],
        asked_N: NDArray[np.int8],
    ) -> Any:
        """The batch of these tokens, for one call."""
        count = self.batch.n_tokens = len(tokens_N)
        self.tokens_N[:count], self.slots_N[:count] = tokens_N, slots_N
        self.places_N[:count], self.asked_N[:count] = places_N, asked_N
        return self.batch


def llama_cpp() -> Any:
    """llama-cpp-python's C interface. Raises `MissingExtra` where it is not installed."""
    try:
        import llama_cpp as library
    except ImportError as error:
        raise MissingExtra(Text("The engine llama.cpp", "llama.cpp 引擎"), "llamacpp") from error
    library.llama_log_set(_LOG, None)
    return library


def _say_errors(level: int, text: bytes, _: Any) -> None:
    if level == _ERROR:
        console.print(text.decode(errors="replace").rstrip(), markup=False)


_LOG = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(_say_errors)


def _not_opened(path: Path) -> CheckpointError:
    return CheckpointError(
        Text(f"llama.cpp cannot open {path}.", f"llama.cpp 无法打开 {path}。"),
        Text("Use engine torch or kernel, or write the file again with hanlin convert.",
             "请改用 torch 或 kernel 引擎，或用 hanlin convert 重新写出该文件。"),
    )  # fmt: skip


def _no_memory(size: int) -> RequestError:
    return RequestError(
        Text(f"llama.cpp got no memory for a cache of {math.ceil(size / 2**20):,} MiB.",
             f"llama.cpp 无法为 {math.ceil(size / 2**20):,} MiB 的缓存分配内存。"),
        Text("Use a shorter window or fewer requests at once.", "请缩短窗口，或减少同时处理的请求。"),
    )  # fmt: skip
