"""Sources with what is to be written of them: for encoder-decoders as two texts, for decoders as a prompt and its answer.

What is to be written is never cut. B records, S source time, T target time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from torch import Tensor

from hanlin.base.records import Message
from hanlin.batches.answers import Fitted, check_any
from hanlin.batches.labels import Places
from hanlin.batches.loader import Examples, RowSeed
from hanlin.batches.ragged import Lengths, check_not_empty, lay_batch, lay_inputs, name_record
from hanlin.batches.source_target import SourceTarget
from hanlin.tokenizer.chat import ChatTemplate, Rendered
from hanlin.tokenizer.framing import Encoding
from hanlin.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class WrittenBatch(SourceTarget):
    """read_BT: what the decoder reads so that each place predicts its target, int64."""

    read_BT: Tensor | None = None


class WrittenTexts(Examples):
    """Encoded sources, each with the ids of a target that ends in its end token, for an encoder-decoder.

    start_id: what the decoder reads first. window: tokens that a target may have; records with longer ones are left out,
    and named. prefix: ids that stand before each source. Raises `DataError` for a source without tokens, and where no record is left.
    """

    def __init__(
        self,
        sources: Sequence[Encoding],
        targets: Sequence[list[int]],
        *,
        start_id: int,
        pad_id: int,
        window: int,
        prefix: Sequence[int] = (),
        places: Places = None,
    ) -> None:
        check_not_empty([np.flatnonzero(np.array(one.special_mask) == 0) for one in sources], places)
        fits = [number for number, ids in enumerate(targets) if len(ids) <= window]
        too_long = [number for number, ids in enumerate(targets) if len(ids) > window]
        self.left_out = tuple(name_record(number, places) for number in too_long)
        check_any(fits, self.left_out, window)
        self._sources = [np.array([*prefix, *sources[number].ids], np.int32) for number in fits]
        self._targets = [np.array(targets[number], np.int32) for number in fits]
        self._start_id, self._pad_id = start_id, pad_id
        self.lengths = Lengths.of(self._sources, [sources[number].cut for number in fits])

    def __len__(self) -> int:
        return len(self._sources)

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Tokens of each record, source and target: what length buckets are made by."""
        pairs = zip(self._sources, self._targets, strict=True)
        return np.array([len(source) + len(target) for source, target in pairs], np.int64)

    def batch(self, rows: npt.NDArray[np.int64], seeds: Sequence[RowSeed]) -> WrittenBatch:
        """The given records; nothing about them is drawn."""
        inputs = lay_inputs([self._sources[row] for row in rows], "padded", self._pad_id)
        targets = [self._targets[row] for row in rows]
        read = [np.array([self._start_id, *ids[:-1]]) for ids in targets]
        laid = lay_batch(read, targets, "padded", self._pad_id)
        return WrittenBatch(inputs.tokens_BT, laid.targets_BT, inputs.documents_BT, laid.tokens_BT)


def target_ids(texts: Sequence[str], tokenizer: Tokenizer) -> list[list[int]]:
    """The ids of targets: as the tokenizer frames a text, if the frame ends it, else the text and the end token."""
    encoded = [(ids, tokenizer.framed([ids]).ids) for ids in tokenizer.encode_batch(texts)]
    end = tokenizer.eos_id
    return [framed if framed[-1:] == [end] else [*ids, end] for ids, framed in encoded]


def source_encodings(texts: Sequence[str], tokenizer: Tokenizer, max_length: int) -> list[Encoding]:
    """Sources with the special tokens that the model expects; those beyond `max_length` tokens lose their end."""
    return [tokenizer.framed([ids], max_length) for ids in tokenizer.encode_batch(texts)]


class Asking:
    """How a decoder is asked: by a text that it continues, or by a turn of a conversation that it answers.

    chat: the template of conversations; None: the prompt is continued. shots: prompts with their answers, which stand
    before each prompt (arXiv 2005.14165, section 2).
    """

    def __init__(
        self, tokenizer: Tokenizer, chat: ChatTemplate | None, shots: Sequence[tuple[str, str]] = ()
    ) -> None:
        self._tokenizer, self._chat = tokenizer, chat
        self._turns = [
            Message(role=role, content=text)
            for shot in shots
            for role, text in zip(("user", "assistant"), shot, strict=True)
        ]
        self._before = "".join(f"{prompt}{joint(prompt, answer)}{answer}\n\n" for prompt, answer in shots)

    @property
    def is_chat(self) -> bool:
        """Whether prompts are turns of a conversation."""
        return self._chat is not None

    def prompt_ids(self, prompt: str) -> list[int]:
        """What the model reads before its answer."""
        if self._chat is None:
            return self._tokenizer.encode_prompt(self._before + prompt)
        turns = [*self._turns, Message(role="user", content=prompt)]
        return self._chat.render(turns, add_generation_prompt=True).ids

    def answer_ids(self, prompt: str, answer: str) -> list[int]:
        """The ids of an answer as it stands behind this prompt, without an end."""
        if self._chat is not None:
            return self._tokenizer.encode_inside(answer, after_special=False)
        return self._tokenizer.encode_inside(joint(prompt, answer) + answer, after_special=False)

    def answered(self, prompt: str, answer: str) -> Rendered:
        """Prompt and answer, of which the answer and its end are learned."""
        if self._chat is not None:
            last = [Message(role="user", content=prompt), Message(role="assistant", content=answer)]
            unlearned = [False] * len(self._turns)
            return self._chat.render([*self._turns, *last], learned=[*unlearned, True, True])
        read, said = self.prompt_ids(prompt), [*self.answer_ids(prompt, answer), self._tokenizer.eos_id]
        return Rendered([*read, *said], [0] * len(read) + [1] * len(said))


def joint(prompt: str, answer: str) -> str:
    """What stands between a prompt and its answer: a space, but not after white space nor beside Chinese."""
    wide = any(ord(character) >= 0x2E80 for character in prompt[-1:] + answer[:1])
    return "" if not prompt or prompt[-1].isspace() or wide else " "


def shortened(
    text: str, tokenizer: Tokenizer, length_of: Callable[[str], int], room: int
) -> tuple[str, int] | None:
    """The text without its end, so that `length_of` it is at most `room` tokens, and how many tokens it lost.

    None where even a single token is too much.
    """
    over = length_of(text) - room
    if over <= 0:
        return text, 0
    _, spans = tokenizer.encode_spans(text)
    kept = len(spans) - over
    while kept > 0:
        short = text[: spans[kept - 1][1]]
        over = length_of(short) - room
        if over <= 0:
            return short, len(spans) - kept
        kept -= over
    return None


def fit_answers(
    records: Sequence[tuple[str, str]],
    asking: Asking,
    prompt_of: Sequence[Callable[[str], str]],
    tokenizer: Tokenizer,
    window: int,
    places: Places = None,
) -> Fitted:
    """Texts with their answers as a decoder learns them, for `Answers`; a text too long loses its end.

    records: text and answer; prompt_of: for each, the prompt around a text. window: tokens that the model reads; the last
    token of an answer is only a target. A record whose answer leaves no room for its text is left out, and named.
    """
    fitted = Fitted([], [], [])
    for number, ((text, answer), prompt) in enumerate(zip(records, prompt_of, strict=True)):
        length_of = partial(_length, asking, prompt, answer)
        short = shortened(text, tokenizer, length_of, window + 1)
        if short is None:
            fitted.left_out.append(name_record(number, places))
        else:
            fitted.rendered.append(asking.answered(prompt(short[0]), answer))
            fitted.cut.append(short[1])
    check_any(fitted.rendered, fitted.left_out, window)
    return fitted


def _length(asking: Asking, prompt: Callable[[str], str], answer: str, text: str) -> int:
    """Tokens of the text in its prompt with its answer."""
    return len(asking.answered(prompt(text), answer).ids)
