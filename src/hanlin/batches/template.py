"""A template with a gap, and for each class the word that would fill it: classification as a cloze question."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Protocol

from hanlin.base.errors import ConfigError
from hanlin.base.language import Text
from hanlin.tokenizer.framing import longest_first
from hanlin.tokenizer.tokenizer import Tokenizer

GAP = "word"
"""The name of the slot that the words of the classes fill."""


@dataclass(frozen=True)
class Filled:
    """A record in the template: its rows, where the gap begins in each of them, how many tokens were cut."""

    rows: list[list[int]]
    gap: int
    cut: int


@dataclass(frozen=True)
class _Piece:
    """Some ids of a row; `slot` is None for the template's own words."""

    ids: list[int]
    slot: str | None


class Template:
    """A text with slots, such as `{text} It was {word}.`, and the words of the classes (the verbaliser).

    A causal model reads up to the gap and is asked how likely each word is to follow; a masked one reads as many masks as
    the word has tokens. White space before a slot belongs to what fills it, as in running text. prefix: ids before all,
    such as those of a soft prompt. before: a text before all of it, such as records with their words filled in (arXiv
    2005.14165, section 2). Source: arXiv 2001.07676, section 3.1 (pattern and verbaliser).
    Raises `ConfigError` for a template without the gap or with more than two other slots, for text after the gap of a
    causal model, which would not see it, and for words that the tokenizer does not know or does not tell apart.
    """

    def __init__(
        self,
        source: str,
        words: Sequence[str],
        tokenizer: Tokenizer,
        *,
        masked: bool,
        prefix: Sequence[int] = (),
        before: str = "",
    ) -> None:
        self._tokenizer, self._masked, self._prefix, self._before = tokenizer, masked, list(prefix), before
        if masked and tokenizer.mask_id is None:
            raise _wrong("the tokenizer has no mask token", "该分词器没有掩码词元",
                         "Use a masked language model.", "请使用掩码语言模型。")  # fmt: skip
        self._parts, self._ending = _parse(source)
        if not masked and (self._ending or self._parts[-1][2] != GAP):
            raise _wrong(f"{source!r} goes on after {{word}}, which a causal model does not see",
                         f"{source!r} 在 {{word}} 之后还有内容，因果模型看不到",
                         "End the template with {word}.", "请让模板以 {word} 结尾。")  # fmt: skip
        self.slots = [slot for _, _, slot in self._parts if slot != GAP]
        (space,) = (space for _, space, slot in self._parts if slot == GAP)
        self.words = [tokenizer.encode_inside(space + word, after_special=False) for word in words]
        check_words(words, self.words, tokenizer)
        reads = [tuple(self._read(word)) for word in self.words]
        self._reads = list(dict.fromkeys(reads))
        self.row_of_word = [self._reads.index(read) for read in reads]
        """Which row of a record each word is judged in: those that read the same share one."""
        self.first_spot = 0 if masked else -1
        """Where the first token of a word is predicted, from the begin of the gap: its mask, or the token before it."""

    def fill(self, record: Mapping[str, str], max_length: int) -> Filled:
        """The template with the record's text in each slot, the longest cut first where all is longer than `max_length`.

        Raises `ConfigError` if the template alone is longer.
        """
        pieces = self._pieces(record)
        lengths = {number: len(piece.ids) for number, piece in enumerate(pieces) if piece.slot in self.slots}
        whole = max(len(self._row(pieces, read)[0]) for read in self._reads)
        room = max_length - whole + sum(lengths.values())
        if room < 0:
            raise too_long(max_length - room, max_length)
        kept = longest_first(list(lengths.values()), room)
        for number, length in zip(lengths, kept, strict=True):
            pieces[number] = replace(pieces[number], ids=pieces[number].ids[:length])
        rows = [self._row(pieces, read) for read in self._reads]
        if rows[0][1] + self.first_spot < 0:
            raise _wrong("nothing stands before {word}, so nothing says how likely a word is",
                         "{word} 之前没有任何内容，无从判断词的可能性",
                         "Begin the template with some words.", "请在模板开头写上一些文字。")  # fmt: skip
        return Filled([ids for ids, _ in rows], rows[0][1], sum(lengths.values()) - sum(kept))

    def _read(self, word: Sequence[int]) -> Sequence[int]:
        """What stands in the gap while this word is judged."""
        mask_id = self._tokenizer.mask_id
        return [mask_id] * len(word) if self._masked and mask_id is not None else word[:-1]

    def _pieces(self, record: Mapping[str, str]) -> list[_Piece]:
        texts: list[tuple[str, str | None]] = [(self._before, None)]
        for literal, space, slot in self._parts:
            texts += [(literal, None), ("" if slot == GAP else space + record[slot], slot)]
        texts.append((self._ending, None))
        pieces, begun = list[_Piece](), False
        for text, name in texts:
            ids = self._tokenizer.encode_inside(text, False) if begun else self._tokenizer.encode(text)
            pieces.append(_Piece(ids, name))
            begun = begun or bool(ids) or name == GAP
        return pieces

    def _row(self, pieces: Sequence[_Piece], read: Sequence[int]) -> tuple[list[int], int]:
        """A whole row, and where the gap begins in it."""
        gap = next(number for number, piece in enumerate(pieces) if piece.slot == GAP)
        before, after = (
            list(chain.from_iterable(piece.ids for piece in part))
            for part in (pieces[:gap], pieces[gap + 1 :])
        )
        tokenizer = self._tokenizer
        if self._masked:
            encoding = tokenizer.framed([[*before, *read, *after]])
            start = encoding.special_mask.index(0)
            return [*self._prefix, *encoding.ids], len(self._prefix) + start + len(before)
        begin = [tokenizer.bos_id] if tokenizer.bos_id is not None and tokenizer.begins_with_bos else []
        head = [*self._prefix, *begin, *before]
        return [*head, *read], len(head)


class WordPrompt(Protocol):
    """What asks a model for the words of classes, `Template` being one."""

    slots: list[str]
    words: list[list[int]]
    row_of_word: list[int]
    first_spot: int

    def fill(self, record: Mapping[str, str], max_length: int) -> Filled:
        """A record as rows of at most `max_length` tokens."""


def slots_of(source: str) -> list[str]:
    """The slots of a template but the gap; raises `ConfigError` as `Template` for one that cannot be read."""
    return [slot for _, _, slot in _parse(source)[0] if slot != GAP]


def filled_text(source: str, record: Mapping[str, str]) -> str:
    """A template as a text: what `record` has for each slot stands in its place."""
    return re.sub(r"\{(\w+)\}", lambda found: record[found.group(1)], source)


def check_words(words: Sequence[str], ids: Sequence[Sequence[int]], tokenizer: Tokenizer) -> None:
    """Raise `ConfigError` for words that the tokenizer does not know or does not tell apart."""
    for word, of_word in zip(words, ids, strict=True):
        if not of_word or tokenizer.unk_id in of_word:
            raise _wrong(f"the word {word!r} is none that the tokenizer knows", f"分词器不认识“{word}”",
                         "Choose another word for this class.", "请为该类别另选一个词。")  # fmt: skip
    if len({tuple(of_word) for of_word in ids}) < len(ids):
        raise _wrong("two classes have the same word", "两个类别用了同一个词",
                     "Give each class a word of its own.", "请让每个类别各用一个词。")  # fmt: skip


def too_long(needed: int, room: int) -> ConfigError:
    """The error for a template that leaves no room for a text."""
    return _wrong(f"the template alone takes {needed} tokens of {room}", f"仅模板就占 {room} 个词元中的 {needed} 个",
                  "Shorten it, or show fewer or shorter records in it.",
                  "请缩短模板，或减少、缩短其中展示的记录。")  # fmt: skip


def _parse(source: str) -> tuple[list[tuple[str, str, str]], str]:
    """The slots, each with the text and the white space before it, and the text after the last."""
    found = re.split(r"\{(\w+)\}", source)
    literals, slots = found[:-1:2], found[1::2]
    if slots.count(GAP) != 1 or len(slots) > 3 or len(set(slots)) < len(slots):
        raise _wrong(f"{source!r} needs {{word}} once, and at most two other slots",
                     f"{source!r} 应恰有一个 {{word}}，其他槽位至多两个",
                     "Write it as in '{text} It was {word}'.", "请写成“{text}总之很{word}”的形式。")  # fmt: skip
    parts = [
        (text.rstrip(), text[len(text.rstrip()) :], slot) for text, slot in zip(literals, slots, strict=True)
    ]
    return parts, found[-1]


def _wrong(en: str, zh: str, do_en: str, do_zh: str) -> ConfigError:
    return ConfigError(
        Text(f"The prompt cannot be used: {en}.", f"该提示无法使用：{zh}。"), Text(do_en, do_zh)
    )
