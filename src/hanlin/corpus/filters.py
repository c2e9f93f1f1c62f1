"""Quality rules: each looks at one document and says whether it breaks the rule.

Rules come from Gopher (arXiv 2112.11446, appendix A.1.1), C4 (arXiv 1910.10683, section 2.2) and FineWeb
(arXiv 2406.17557, section 3.6). They were written for English words. Here a word is a word of a spaced script
or two letters of an unspaced one (a Chinese word is two characters on average), so that they hold for both.
"""

import functools
import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

from hanlin.corpus.config import FilterConfig
from hanlin.corpus.units import count_unspaced, units

_SYMBOL = re.compile(r"#|…+|\.{3,}")
_TERMINAL = tuple(".!?\"'。！？”’」』…：:；;")
_SHORT_LINE = 30


class View:
    """One document as the rules look at it; what several of them need is counted once."""

    def __init__(self, text: str) -> None:
        self.text = text

    @functools.cached_property
    def visible(self) -> str:
        """The text without white space."""
        return "".join(self.text.split())

    @functools.cached_property
    def units(self) -> list[str]:
        """Words of spaced scripts, single letters of unspaced ones."""
        return units(self.text)

    @functools.cached_property
    def letters_a_word(self) -> int:
        """2 if most units are letters of an unspaced script, else 1: how many units make a word."""
        return 2 if 2 * count_unspaced(self.text) > len(self.units) else 1

    @functools.cached_property
    def lines(self) -> list[str]:
        """Lines that are not blank, without their indentation."""
        return [line.strip() for line in self.text.split("\n") if line.strip()]


Rule = Callable[[View, FilterConfig], bool]


def too_short(view: View, config: FilterConfig) -> bool:
    """Fewer characters than `min_characters` (Gopher and C4 have minimum lengths in words and sentences)."""
    return len(view.visible) < max(1, config.min_characters)


def damaged(view: View, config: FilterConfig) -> bool:
    """Too many U+FFFD: text lost before it reached us."""
    return view.text.count("\ufffd") > config.max_damaged_share * len(view.visible)


def placeholder(view: View, config: FilterConfig) -> bool:
    """Filler text (C4: pages with `lorem ipsum`)."""
    return config.drop_placeholders and "lorem ipsum" in view.text.lower()


def few_letters(view: View, config: FilterConfig) -> bool:
    """Too few letters and digits (Gopher: 80 % of words have an alphabetic character).

    Characters are counted, not words, so that code and formulas with their signs pass.
    """
    letters = sum(map(len, view.units))
    return letters < config.min_letter_share * len(view.visible)


def symbols(view: View, config: FilterConfig) -> bool:
    """Too many hashes and ellipses for the words (Gopher: more than 0.1 a word)."""
    words = len(view.units) / view.letters_a_word
    found = len(_SYMBOL.findall(view.text))
    return found > 2 and found > config.max_symbol_share * words


def duplicate_lines(view: View, config: FilterConfig) -> bool:
    """Too many characters in lines that stood before in the document (Gopher: 0.2; FineWeb: 0.1)."""
    if len(view.lines) < 4:
        return False
    seen: set[str] = set()
    repeated = 0
    for line in view.lines:
        repeated += len(line) if line in seen else 0
        seen.add(line)
    return repeated > config.max_duplicate_line_share * sum(map(len, view.lines))


def top_ngram(view: View, config: FilterConfig) -> bool:
    """Too many characters in the most frequent sequence of two words (Gopher: 0.2)."""
    grams = _grams(view, 2)
    if not grams:
        return False
    gram, count = Counter(grams).most_common(1)[0]
    characters = sum(map(len, view.units))
    return count > 4 and count * sum(map(len, gram)) > config.max_top_ngram_share * characters


def repeated_ngrams(view: View, config: FilterConfig) -> bool:
    """Too many characters in sequences of ten words that stood before, each character counted once (Gopher: 0.1)."""
    size = 10 * view.letters_a_word
    seen: set[tuple[str, ...]] = set()
    repeated = covered = 0
    for start, gram in enumerate(_grams(view, 10)):
        if gram in seen:
            repeated += sum(map(len, view.units[max(covered, start) : start + size]))
            covered = start + size
        seen.add(gram)
    return repeated > config.max_repeated_ngram_share * sum(map(len, view.units))


def unfinished_lines(view: View, config: FilterConfig) -> bool:
    """Too few lines that end with punctuation (FineWeb: 0.12)."""
    ended = sum(line.endswith(_TERMINAL) for line in view.lines)
    return ended < config.min_terminal_punctuation_share * len(view.lines)


def short_lines(view: View, config: FilterConfig) -> bool:
    """Too many short lines (FineWeb: 0.67 of under 30 characters; half as many in unspaced scripts)."""
    limit = _SHORT_LINE // view.letters_a_word
    return sum(len(line) < limit for line in view.lines) > config.max_short_line_share * len(view.lines)


def _grams(view: View, words: int) -> Sequence[tuple[str, ...]]:
    """All sequences of so many words (of unspaced scripts: twice as many letters)."""
    size = words * view.letters_a_word
    if size == 2:
        return list(pairwise(view.units))
    return list(zip(*(view.units[start:] for start in range(size)), strict=False))


RULES: dict[str, Rule] = {
    "too short": too_short,
    "damaged characters": damaged,
    "placeholder text": placeholder,
    "few letters": few_letters,
    "many symbols": symbols,
    "repeated lines": duplicate_lines,
    "one repeated phrase": top_ngram,
    "repeated passages": repeated_ngrams,
    "lines without ending": unfinished_lines,
    "short lines": short_lines,
}


def broken_rule(text: str, config: FilterConfig) -> str | None:
    """The name of the first rule that `text` breaks, or None."""
    view = View(text)
    return next((name for name, rule in RULES.items() if rule(view, config)), None)
