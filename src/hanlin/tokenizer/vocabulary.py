"""What the three trainers share: the characters that get a token, and the errors for too little text."""

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from hanlin.base.errors import DataError
from hanlin.base.language import Text
from hanlin.base.progress import console
from hanlin.tokenizer.config import TokenizerConfig


def characters_by_frequency(texts: Iterable[str]) -> list[str]:
    """Every character of `texts`, the commonest first."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    return sorted(counts, key=lambda character: (-counts[character], character))


def fitting(characters: Iterable[str], room: int, cost: Callable[[str], int]) -> list[str]:
    """The first of `characters` that fit into `room` tokens, when each takes `cost` of them.

    Without this bound a corpus with more characters than the vocabulary has tokens would overflow it.
    """
    totals = itertools.accumulate(map(cost, (listed := list(characters))))
    return [character for character, total in zip(listed, totals, strict=True) if total <= room]


def cut_at_others(texts: Iterable[str], characters: Iterable[str]) -> Iterator[str]:
    """`texts` without any but `characters`, cut where others stood."""
    others = re.compile(f"[^{re.escape(''.join(characters))}]+")
    for text in texts:
        yield from filter(None, others.split(text))


def not_empty(texts: Iterable[str]) -> Iterator[str]:
    """`texts` as they are; raises `DataError` at their end when they held no character."""
    seen = False
    for text in texts:
        seen = seen or bool(text)
        yield text
    if not seen:
        raise no_text("the corpus")


def check_size(size: int, config: TokenizerConfig) -> None:
    """Say that a vocabulary came out smaller than asked for, or raise `DataError`, as
    `config.on_small` wants."""
    if size >= config.vocab_size:
        return
    if config.on_small == "shrink":
        console.print(
            str(
                Text(
                    f"The text yields {size} tokens, fewer than the {config.vocab_size} asked for; the "
                    f"vocabulary has {size}.",
                    f"文本只能产生 {size} 个词元，少于要求的 {config.vocab_size} 个；词表大小为 {size}。",
                )
            )
        )
        return
    raise DataError(
        Text(
            f"The corpus yields only {size} tokens; tokenizer.vocab_size asks for {config.vocab_size}.",
            f"语料只能产生 {size} 个词元，而 tokenizer.vocab_size 要求 {config.vocab_size} 个。",
        ),
        _more_text(size, config),
    )


def _more_text(size: int, config: TokenizerConfig) -> Text:
    if config.model != "bpe":  # with another size, other characters have tokens: no size is sure to be met
        return Text(
            "Set tokenizer.on_small=shrink, or bring more text.",
            "请设置 tokenizer.on_small=shrink，或增加文本。",
        )
    return Text(
        f"Set tokenizer.vocab_size={size} or less, set tokenizer.on_small=shrink, lower "
        "tokenizer.min_frequency, or bring more text.",
        f"请设置 tokenizer.vocab_size={size} 或更小，或设置 tokenizer.on_small=shrink，或降低 "
        "tokenizer.min_frequency，或增加文本。",
    )


def no_text(place: str) -> DataError:
    """The error for a corpus that holds no text."""
    return DataError(
        Text(
            f"There is no text to train a tokenizer on in {place}.", f"{place} 中没有可用来训练分词器的文本。"
        ),
        Text(
            "Check the sources and filters of the corpus; its report.json says what was dropped.",
            "请检查语料的来源与过滤条件；其 report.json 说明了丢弃的内容。",
        ),
    )
