"""What `hanlin.load_encoder` returns: a model that turns texts into vectors, and fills masks.

N texts, B texts of a batch, T time, C width, M masks of a text, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from hanlin.base.device import Compute, DeviceName, choose_compute
from hanlin.base.errors import CheckpointError, RequestError
from hanlin.base.language import Text
from hanlin.base.progress import track
from hanlin.checkpoint.folder import find_model, open_model
from hanlin.checkpoint.sentence import Pooling, SentenceSettings, read_sentence_settings
from hanlin.generate.fill import Filling, Guess, MaskFilling
from hanlin.model.config import CoreConfig
from hanlin.model.headed import Headed
from hanlin.model.heads import pool
from hanlin.tokenizer.framing import Encoding
from hanlin.tokenizer.tokenizer import Tokenizer

Vectors = NDArray[np.float32]

TOKENS_AT_ONCE = {"cpu": 2**10, "cuda": 2**15, "mps": 2**13}
"""Tokens that one batch may hold, padding included: on a CPU, larger ones only leave its caches."""


@dataclass(frozen=True)
class Embedded:
    """One vector a text, (N, C) float32, in the order of the texts; `cut` are the numbers of texts that were too
    long; `unknown` is the share of tokens that the vocabulary does not have."""

    vectors_NC: Vectors
    cut: tuple[int, ...]
    unknown: float = 0.0


class SentenceEncoder:
    """A model with its tokenizer and its way from hidden states to one vector. Source: arXiv 1908.10084, section 3."""

    def __init__(
        self, name: str, model: Headed, tokenizer: Tokenizer, compute: Compute, settings: SentenceSettings
    ) -> None:
        self.name, self.model, self.tokenizer = name, model, tokenizer
        self.compute, self.settings = compute, settings

    @property
    def size(self) -> int:
        """Numbers in one vector."""
        return self.model.config.width

    def embed(self, texts: Sequence[str], title: str = "") -> Embedded:
        """The vectors of `texts`; with a `title`, progress is shown.

        Texts of like length share a batch, whatever their order. Raises `RequestError` for a text of nothing but
        blanks, whose vector would stand for nothing.
        """
        for number, text in enumerate(texts):
            if not text.strip():
                raise _empty(number)
        encoded = [self.encode(text) for text in texts]
        rows = [one.ids for one in encoded]
        vectors_NC = np.empty((len(texts), self.size), np.float32)
        batches = list(_batches(rows, TOKENS_AT_ONCE[self.compute.device.type]))
        for batch in track(batches, title, len(batches)) if title else batches:
            vectors_NC[batch] = self._vectors([rows[number] for number in batch]).cpu().numpy()
        unknown_id = self.tokenizer.unk_id
        unknown = sum(row.count(unknown_id) for row in rows) if unknown_id is not None else 0
        cut = tuple(number for number, one in enumerate(encoded) if one.cut)
        return Embedded(vectors_NC, cut, unknown / max(1, sum(map(len, rows))))

    def fill(self, text: str, k: int = 5) -> list[list[Guess]]:
        """The k likeliest tokens in the place of each mask token of `text`, likeliest first: M lists.

        Raises `RequestError` for a model without a masked head, a text without the mask token, and one that is too long.
        """
        return MaskFilling(self.name, self.model, self.tokenizer, self.compute).each(text, k)

    def fill_together(self, text: str, k: int = 5, beams: int = 16) -> list[Filling]:
        """The k likeliest ways to fill all masks of `text` so that they fit each other, from left to right by beam search.

        Raises as `fill`.
        """
        return MaskFilling(self.name, self.model, self.tokenizer, self.compute).together(text, k, beams)

    def encode(self, text: str) -> Encoding:
        """The tokens that the model reads of a text."""
        settings = self.settings
        text = settings.prompt + (text.lower() if settings.lowercase else text)
        return self.tokenizer.encode_single(text, settings.max_tokens)

    @torch.inference_mode()
    def _vectors(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        """(B, C) float32."""
        lengths_B = torch.tensor([len(row) for row in rows])
        T = int(lengths_B.max())
        padding = self.tokenizer.pad_id
        tokens_BT = torch.tensor(
            [[*row, *[padding] * (T - len(row))] for row in rows], device=self.compute.device
        )
        documents_BT = None
        if int(lengths_B.min()) < T:
            documents_BT = (torch.arange(T) < lengths_B.unsqueeze(1)).long().sub(1).to(self.compute.device)
        with self.compute.autocast():
            hidden_BTC = self.model.hidden(tokens_BT, documents_BT=documents_BT)
        vectors_BC = pool(hidden_BTC.float(), self.settings.pooling, documents_BT)
        return F.normalize(vectors_BC, dim=1) if self.settings.normalize else vectors_BC


def load_encoder(
    model: Path | str,
    device: DeviceName = "auto",
    *,
    pooling: Pooling | None = None,
    normalize: bool | None = None,
    max_tokens: int | None = None,
) -> SentenceEncoder:
    """Open a model to embed with: a folder, `all-minilm-l6-v2` if its package is installed, or a hub's org/name.

    How hidden states become a vector is read from a sentence-transformers folder's `modules.json`; else it is the mean
    (a decoder's last token), not normalised, of texts up to the window. What is given here comes first. Products
    run in float32. Raises `CheckpointError` for what cannot be opened or has no one hidden state a token.
    """
    folder = find_model(Path(model))
    compute = choose_compute(device, "float32")
    opened, tokenizer, _ = open_model(folder, compute)
    if not isinstance(opened, Headed):
        raise _not_one_stack(folder)
    config = opened.config
    settings = sentence_settings(folder, config)
    given: dict[str, Any] = {"pooling": pooling, "normalize": normalize, "max_tokens": max_tokens}
    settings = settings._replace(**{name: value for name, value in given.items() if value is not None})
    least = len(tokenizer.encode_single("").ids) + 1
    if not least <= settings.max_tokens <= config.window:
        raise _window(settings.max_tokens, least, config.window)
    name = folder.resolve().name if Path(model).exists() else str(model)
    return SentenceEncoder(name, opened, tokenizer, compute, settings)


def sentence_settings(folder: Path | None, config: CoreConfig) -> SentenceSettings:
    """How hidden states become a vector, as `load_encoder` says; folder: the model's, if it comes from one."""
    own = None if folder is None else read_sentence_settings(folder, config.window)
    pooling: Pooling = "last" if config.assembly == "decoder" else "mean"
    return own or SentenceSettings(pooling, False, config.window)


def embed(texts: Sequence[str], model: Path | str, device: DeviceName = "auto") -> Vectors:
    """The vectors of `texts`, (N, C) float32, by a model that is opened for it; arguments as for `load_encoder`."""
    return load_encoder(model, device).embed(texts).vectors_NC


def similarity(vectors_NC: Vectors) -> Vectors:
    """The cosine between every two vectors, (N, N)."""
    lengths_N1 = np.linalg.norm(vectors_NC, axis=1, keepdims=True)
    unit_NC = vectors_NC / np.maximum(lengths_N1, 1e-12)
    products: Vectors = unit_NC @ unit_NC.T
    return products


def _batches(rows: Sequence[Sequence[int]], tokens: int) -> Iterator[list[int]]:
    """Numbers of rows, longest first, of together at most `tokens` tokens with their padding."""
    order = sorted(range(len(rows)), key=lambda number: -len(rows[number]))
    place = 0
    while place < len(order):
        at_once = max(1, tokens // len(rows[order[place]]))
        yield order[place : place + at_once]
        place += at_once


def _empty(number: int) -> RequestError:
    return RequestError(
        Text(f"Text {number + 1} is empty.", f"第 {number + 1} 个文本是空的。"),
        Text("Leave it out: its vector would stand for nothing.", "请略去它：其向量不代表任何内容。"),
    )


def _not_one_stack(folder: Path) -> CheckpointError:
    return CheckpointError(
        Text(f"{folder} holds an encoder-decoder, which has no one vector for a text.",
             f"{folder} 中是编码器-解码器模型，没有代表整个文本的向量。"),
        Text("Use an encoder such as BERT, or a decoder.", "请使用编码器（如 BERT）或解码器模型。"),
    )  # fmt: skip


def _window(given: int, least: int, window: int) -> RequestError:
    return RequestError(
        Text(f"Texts cannot be cut at {given} tokens.", f"文本不能在 {given} 个词元处截断。"),
        Text(f"Choose {least} to {window}.", f"请选择 {least} 到 {window} 之间的数。"),
    )
