"""Texts as a model takes them: special tokens around them, segments, truncation, padding.

B batch, T positions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hanlin.base.errors import CheckpointError, RequestError
from hanlin.base.language import Text

Side = Literal["left", "right"]


@dataclass(frozen=True)
class Slot:
    """A place in a frame: special tokens, or (`text` 0 or 1) the first or second text."""

    ids: tuple[int, ...]
    text: int | None
    segment: int


Frame = tuple[Slot, ...]


@dataclass(frozen=True)
class Encoding:
    """One text or pair with its special tokens.

    `segment_ids` say which text a token is of, `special_mask` is 1 on special tokens, `cut` counts the
    tokens of the texts that truncation left out. The three lists have the same length.
    """

    ids: list[int]
    segment_ids: list[int]
    special_mask: list[int]
    cut: int


@dataclass(frozen=True)
class PaddedBatch:
    """Encodings as arrays, padded to the longest: ids and segments int64, `attended_BT` False on padding,
    `special_BT` True on special tokens and padding, `cut_B` the tokens that truncation left out."""

    ids_BT: NDArray[np.int64]
    segments_BT: NDArray[np.int64]
    attended_BT: NDArray[np.bool_]
    special_BT: NDArray[np.bool_]
    cut_B: NDArray[np.int64]


def read_frames(definition: Mapping[str, Any]) -> tuple[Frame, Frame]:
    """The frames of one text and of a pair that the post-processor of a parsed `tokenizer.json` makes.

    Raises `CheckpointError` for a post-processor of another form.
    """
    processor = definition.get("post_processor")
    steps = processor["processors"] if processor and processor["type"] == "Sequence" else [processor]
    framing = [step for step in steps if step and step["type"] != "ByteLevel"]  # that one moves only offsets
    match framing:
        case []:
            return (_text(0),), (_text(0), _text(1))
        case [{"type": "TemplateProcessing", "special_tokens": specials, "single": one, "pair": two}]:
            return tuple(_slot(entry, specials) for entry in one), tuple(
                _slot(entry, specials) for entry in two
            )
        case [{"type": "BertProcessing", "cls": [_, cls], "sep": [_, sep]}]:
            single = (_special(cls, 0), _text(0), _special(sep, 0))
            return single, (*single, _text(1), _special(sep, 1))
        case [{"type": "RobertaProcessing", "cls": [_, cls], "sep": [_, sep]}]:
            single = (_special(cls, 0), _text(0), _special(sep, 0))
            return single, (*single, _special(sep, 0), Slot((), 1, 0), _special(sep, 0))
    raise _unknown_frame([step["type"] for step in framing])


def fill_frame(frame: Frame, texts: Sequence[list[int]], max_length: int | None, side: Side) -> Encoding:
    """Put the ids of one or two texts into `frame`, truncated longest first, on `side`.

    Raises `RequestError` when `max_length` leaves no room for the special tokens.
    """
    lengths = [len(ids) for ids in texts]
    kept = lengths
    if max_length is not None:
        room = max_length - sum(len(slot.ids) for slot in frame)
        if room < 0:
            raise _no_room(max_length, max_length - room)
        kept = longest_first(lengths, room)
    ids: list[int] = []
    segments: list[int] = []
    special: list[int] = []
    for slot in frame:
        new = list(slot.ids)
        if slot.text is not None:
            whole = texts[slot.text]
            start = len(whole) - kept[slot.text] if side == "left" else 0
            new = whole[start : start + kept[slot.text]]
        ids += new
        segments += [slot.segment] * len(new)
        special += [int(slot.text is None)] * len(new)
    return Encoding(ids, segments, special, cut=sum(lengths) - sum(kept))


def longest_first(lengths: Sequence[int], room: int) -> list[int]:
    """How many tokens of each of one or two texts to keep so that they fit into `room`.

    The longer of a pair gives way until both are as long; then both do, and an odd token goes to the longer.
    This is the result of `truncation=True` in `transformers` (of two texts as long, the second keeps it).
    """
    if sum(lengths) <= room:
        return list(lengths)
    if len(lengths) == 1:
        return [room]
    shorter = min(lengths)
    if 2 * shorter <= room:
        return [length if length == shorter else room - shorter for length in lengths]
    first_is_longer = lengths[0] > lengths[1]
    return [(room + first_is_longer) // 2, (room + (not first_is_longer)) // 2]


def pad(encodings: Sequence[Encoding], pad_id: int, side: Side) -> PaddedBatch:
    """The encodings as arrays as long as the longest of them, padding on `side`, in segment 0."""
    shape = len(encodings), max((len(encoding.ids) for encoding in encodings), default=0)
    ids_BT = np.full(shape, pad_id, dtype=np.int64)
    segments_BT = np.zeros(shape, dtype=np.int64)
    attended_BT = np.zeros(shape, dtype=np.bool_)
    special_BT = np.ones(shape, dtype=np.bool_)
    for row, encoding in enumerate(encodings):
        length = len(encoding.ids)
        place = slice(shape[1] - length, None) if side == "left" else slice(length)
        ids_BT[row, place] = encoding.ids
        segments_BT[row, place] = encoding.segment_ids
        attended_BT[row, place] = True
        special_BT[row, place] = encoding.special_mask
    cut_B = np.array([encoding.cut for encoding in encodings], dtype=np.int64)
    return PaddedBatch(ids_BT, segments_BT, attended_BT, special_BT, cut_B)


def _slot(entry: Mapping[str, Any], specials: Mapping[str, Any]) -> Slot:
    ((kind, value),) = entry.items()
    if kind == "Sequence":
        return Slot((), "AB".index(value["id"]), value["type_id"])
    return Slot(tuple(specials[value["id"]]["ids"]), None, value["type_id"])


def _text(number: int) -> Slot:
    return Slot((), number, number)


def _special(id: int, segment: int) -> Slot:
    return Slot((id,), None, segment)


def _unknown_frame(kinds: Sequence[str]) -> CheckpointError:
    names = ", ".join(kinds)
    return CheckpointError(
        Text(
            f"tokenizer.json frames texts with {names}, which cannot be read.",
            f"tokenizer.json 用 {names} 包装文本，无法识别。",
        ),
        Text(
            'Replace its "post_processor" by one TemplateProcessing.',
            "请把其中的 post_processor 换成单个 TemplateProcessing。",
        ),
    )


def _no_room(max_length: int, needed: int) -> RequestError:
    return RequestError(
        Text(
            f"A length of {max_length} has no room for the {needed} special tokens.",
            f"长度 {max_length} 容不下 {needed} 个特殊词元。",
        ),
        Text(f"Allow at least {needed + 1} tokens.", f"请至少允许 {needed + 1} 个词元。"),
    )
