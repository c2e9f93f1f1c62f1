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


@dataclass(frozen=True)
class Seen:
    """One token: its text, whether it is only read, or what is learned at it ("" where the token itself is)."""

    text: str
    role: Literal["read", "learned"]
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
            learned = [Seen(_text([id], tokenizer), "learned") for id in targets[targets != IGNORE].tolist()]
            return SeenRow([*_read(batch.source_BS[0], tokenizer), *learned])
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
        return [
            Seen(
                _text([id], tokenizer),
                "read" if target == IGNORE else "learned",
                "" if target == IGNORE else names[target],
            )
            for id, target in zip(tokens, targets, strict=True)
        ]
    learned = [False, *(target != IGNORE for target in targets)]
    last = [targets[-1]] if targets[-1] != IGNORE else []
    return [
        Seen(_text([id], tokenizer), "learned" if is_learned else "read")
        for id, is_learned in zip([*tokens, *last], learned, strict=False)
    ]


def _label(value: Tensor, names: Sequence[str]) -> str:
    if value.ndim:
        return ", ".join(name for name, has in zip(names, value.tolist(), strict=True) if has)
    if value.is_floating_point():
        return f"{float(value):g}"
    return names[int(value)] if int(value) != IGNORE else ""


def _read(ids_T: Tensor, tokenizer: Tokenizer) -> list[Seen]:
    return [Seen(_text([id], tokenizer), "read") for id in ids_T.tolist()]


def _text(ids: list[int], tokenizer: Tokenizer) -> str:
    return tokenizer.decode(ids, skip_special=False)
