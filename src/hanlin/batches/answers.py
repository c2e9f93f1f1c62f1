"""Answers to learn: conversations of which only the assistant's words are targets, and prompts with completions.

What the model is to say, the token that ends its turn included, is learned whole or not at all: a conversation that does
not fit loses its last exchanges, and none loses the end of an answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hanlin.base.errors import DataError
from hanlin.base.language import Text
from hanlin.base.records import Dialogue
from hanlin.batches.batch import IGNORE, Batch
from hanlin.batches.labels import Places
from hanlin.batches.loader import Examples, RowSeed
from hanlin.batches.ragged import Layout, Lengths, lay_batch, name_record
from hanlin.tokenizer.chat import ChatTemplate, Rendered
from hanlin.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class Fitted:
    """Records as ids, and what of them did not fit into the window.

    cut: tokens that each record lost; left_out: names of records of which nothing could be kept.
    """

    rendered: list[Rendered]
    cut: list[int]
    left_out: list[str]


def render_dialogues(
    dialogues: Sequence[Dialogue], template: ChatTemplate, max_length: int, places: Places = None
) -> Fitted:
    """Conversations by the template, which says what the assistant's words are; `Turn.learn` takes answers out.

    max_length: tokens that the model reads; the last token of a record is only a target. Raises `DataError` for a
    conversation without an answer to learn, and as `ChatTemplate.render`.
    """
    fitted = Fitted([], [], [])
    for number, dialogue in enumerate(dialogues):
        name, turns = name_record(number, places), dialogue.messages
        ends = [place + 1 for place, turn in enumerate(turns) if turn.role == "assistant"]
        if not any(turns[end - 1].learn for end in ends):
            raise DataError(
                Text(f"Record {name} has no answer to learn.", f"记录 {name} 没有可学习的回答。"),
                Text("Give it a message of the role assistant, or remove it.", "请加入 role 为 assistant 的消息，或删除该记录。"),
            )  # fmt: skip
        whole = None
        for end in reversed(ends):
            rendered = template.render(turns[:end], learned=[turn.learn for turn in turns[:end]])
            whole = len(rendered.ids) if whole is None else whole
            if len(rendered.ids) <= max_length + 1 and any(rendered.loss_mask):
                fitted.rendered.append(rendered)
                fitted.cut.append(whole - len(rendered.ids))
                break
        else:
            fitted.left_out.append(name)
    check_any(fitted.rendered, fitted.left_out, max_length)
    return fitted


def render_completions(
    pairs: Sequence[tuple[str, str]], tokenizer: Tokenizer, max_length: int, places: Places = None
) -> Fitted:
    """Prompts with the text that is to follow: L = - log P(y, end | x). Of a prompt too long the beginning is cut.

    max_length: as for dialogues. Raises `DataError` for a record without a completion, or without a prompt where no begin
    token stands before it: nothing would predict the first token.
    """
    fitted = Fitted([], [], [])
    for number, (prompt, completion) in enumerate(pairs):
        name = name_record(number, places)
        begin = [tokenizer.bos_id] if tokenizer.bos_id is not None and tokenizer.begins_with_bos else []
        if not completion or not (begin or prompt):
            en, zh = ("completion", "续写") if not completion else ("prompt", "提示")
            raise DataError(
                Text(f"Record {name} has an empty {en}.", f"记录 {name} 的{zh}为空。"),
                Text("Fill it in, or remove the record.", "请补上内容，或删除该记录。"),
            )
        read = tokenizer.encode(prompt)
        said = [*tokenizer.encode_inside(completion, after_special=False), tokenizer.eos_id]
        room = max_length + 1 - len(begin) - len(said)
        if room < min(1, len(read)):
            fitted.left_out.append(name)
            continue
        kept = read[max(0, len(read) - room) :]
        fitted.rendered.append(Rendered([*begin, *kept, *said], [0] * len(begin + kept) + [1] * len(said)))
        fitted.cut.append(len(read) - len(kept))
    check_any(fitted.rendered, fitted.left_out, max_length)
    return fitted


class Answers(Examples):
    """Rendered records: each token is read, and the next one is its target where it is to be learned, else `IGNORE`.

    prefix: ids that stand before each record, such as those of a soft prompt; they count against no window here.
    """

    def __init__(
        self, fitted: Fitted, pad_id: int, layout: Layout = "packed", prefix: Sequence[int] = ()
    ) -> None:
        self._pad_id, self._layout = pad_id, layout
        self._texts, self._targets = [], []
        for rendered in fitted.rendered:
            ids = np.array([*prefix, *rendered.ids], np.int32)
            learned = np.array([*(0 for _ in prefix), *rendered.loss_mask], bool)
            self._texts.append(ids[:-1])
            self._targets.append(np.where(learned, ids, IGNORE)[1:])
        self.lengths = Lengths.of(self._texts, fitted.cut)
        self.left_out = tuple(fitted.left_out)

    def __len__(self) -> int:
        return len(self._texts)

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Tokens of each record: what length buckets are made by."""
        return np.array([len(text) for text in self._texts], np.int64)

    def batch(self, rows: npt.NDArray[np.int64], seeds: Sequence[RowSeed]) -> Batch:
        """The given records; nothing about them is drawn."""
        texts, targets = [self._texts[row] for row in rows], [self._targets[row] for row in rows]
        return lay_batch(texts, targets, self._layout, self._pad_id)


def check_any(kept: Sequence[object], left_out: Sequence[str], max_length: int) -> None:
    """Raise `DataError` if nothing was kept."""
    if not kept:
        some = ", ".join(left_out[:3]) or "none"
        raise DataError(
            Text(f"No record fits into {max_length} tokens with a whole answer (left out: {some} ...).",
                 f"没有记录能连同完整的回答放入 {max_length} 个词元（已略去：{some}……）。"),
            Text("Allow more tokens, or shorten the records.", "请放宽长度，或缩短记录。"),
        )  # fmt: skip
