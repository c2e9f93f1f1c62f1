"""What a model will really see of some records: every token, and which of them is learned.

B records, T time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from torch import Tensor

from hanlin.batches.batch import IGNORE, Batch
from hanlin.batches.labelled import LabelledBatch
from hanlin.batches.loader import Examples
from hanlin.batches.prompted import PromptedBatch
from hanlin.batches.source_target import SourceTarget
from hanlin.batches.views import Views
from hanlin.model.config import CoreConfig
from hanlin.tokenizer.tokenizer import Tokenizer

Role = Literal["read", "learned"]

_READ: tuple[Role, str] = ("read", "")
_HALF, _MOST_BYTES = "\ufffd", 4
"""What stands for bytes that are no whole character, and how many bytes of UTF-8 one has at most."""


@dataclass(frozen=True)
class Seen:
    """One token: its text, whether it is only read, or what is learned at it ("" where the token itself is)."""

    text: str
    role: Role
    target: str = ""


@dataclass(frozen=True)
class SeenRow:
    """A record as the model sees it; `target`: what is learned of the whole."""

    tokens: list[Seen]
    target: str = ""


def seen_rows(
    examples: Examples, numbers: Sequence[int], tokenizer: Tokenizer, config: CoreConfig
) -> list[SeenRow]:
    """The records of these numbers; of batches that are compared as a whole, the texts of the first kind."""
    return [
        _seen(examples.batch(np.array([number]), [(0, 0, number)]), tokenizer, config.label_names)
        for number in numbers
    ]


def _seen(batch: Any, tokenizer: Tokenizer, names: Sequence[str]) -> SeenRow:
    match batch:
        case LabelledBatch():
            return SeenRow(_read(batch.inputs.tokens_BT[0], tokenizer), _label(batch.labels[0], names))
        case PromptedBatch():
            word = batch.words_BKM[0, int(batch.labels_B[0])]
            return SeenRow(
                _read(batch.tokens_BRT[0, 0], tokenizer), _text(word[word != IGNORE].tolist(), tokenizer)
            )
        case SourceTarget():
            targets = batch.targets_BT[0]
            written: list[tuple[int, Role, str]] = [
                (id, "learned", "") for id in targets[targets != IGNORE].tolist()
            ]
            return SeenRow([*_read(batch.source_BS[0], tokenizer), *_pieces(written, tokenizer)])
        case Views():
            second = batch.second.tokens_BT[0].tolist()
            return SeenRow(_read(batch.first.tokens_BT[0], tokenizer), _text(second, tokenizer))
        case Batch():
            return SeenRow(_with_targets(batch, tokenizer, names))
    tokens = next((value for name, value in vars(batch).items() if name.startswith("tokens")), None)
    inputs = getattr(batch, "inputs", None)
    if tokens is None and inputs is not None:
        tokens = inputs.tokens_BT
    return SeenRow([] if tokens is None else _read(tokens.flatten(), tokenizer))


def _with_targets(batch: Batch, tokenizer: Tokenizer, names: Sequence[str]) -> list[Seen]:
    """Targets are labels of tokens where the model has names for them, else the tokens that follow."""
    tokens, targets = batch.tokens_BT[0].tolist(), batch.targets_BT[0].tolist()
    if names:
        told = [("read", "") if target == IGNORE else ("learned", names[target]) for target in targets]
        return _pieces([(id, *what) for id, what in zip(tokens, told, strict=True)], tokenizer)
    learned = [False, *(target != IGNORE for target in targets)]
    last = [targets[-1]] if targets[-1] != IGNORE else []
    return _pieces(
        [
            (id, "learned" if is_learned else "read", "")
            for id, is_learned in zip([*tokens, *last], learned, strict=False)
        ],
        tokenizer,
    )


def _label(value: Tensor, names: Sequence[str]) -> str:
    if value.ndim:
        return ", ".join(name for name, has in zip(names, value.tolist(), strict=True) if has)
    if value.is_floating_point():
        return f"{float(value):g}"
    return names[int(value)] if int(value) != IGNORE else ""


def _read(ids_T: Tensor, tokenizer: Tokenizer) -> list[Seen]:
    return _pieces([(id, "read", "") for id in ids_T.tolist()], tokenizer)


def _pieces(tokens: Sequence[tuple[int, Role, str]], tokenizer: Tokenizer) -> list[Seen]:
    """Tokens with their texts; those that are bytes of one character stand together."""
    pieces, held, kind = list[Seen](), list[int](), _READ
    for id, role, target in tokens:
        if id >= tokenizer.vocab_size:  # a virtual token of a soft prompt
            pieces.append(Seen("◇", role, target))
            continue
        if held and (role, target) != kind:
            pieces.append(Seen(_text(held, tokenizer), *kind))
            held = []
        held, kind = [*held, id], (role, target)
        if _HALF not in (text := _text(held, tokenizer)) or len(held) == _MOST_BYTES:
            pieces.append(Seen(text, *kind))
            held = []
    return [*pieces, *([Seen(_text(held, tokenizer), *kind)] if held else [])]


def _text(ids: list[int], tokenizer: Tokenizer) -> str:
    return tokenizer.decode(ids, skip_special=False)
