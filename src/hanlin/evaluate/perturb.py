"""Texts changed as people and systems change them, without changing what they say: misspelt, recased, framed ...

Each change touches what it is about and nothing else: typos change words of Latin letters, homophones Chinese characters,
so that a text of another language comes back as it was. The same random generator gives the same text.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Literal

from hanlin.base.language import Text
from hanlin.corpus.units import count_unspaced
from hanlin.evaluate.perturb_zh import homophones, other_script, other_width

SHARE = 0.15
"""Of the words (or Chinese characters) that a change can touch, so many are changed."""

_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_KEYS = {
    key: row[max(0, place - 1) : place] + row[place + 1 : place + 2]
    for row in _ROWS
    for place, key in enumerate(row)
}
"""Of each key of a QWERTY keyboard, those left and right of it."""
_LATIN, _HAN = "[A-Za-z\u00c0-\u024f]", "[\u3400-\u4dbf\u4e00-\u9fff]"
_WORD = re.compile(f"{_LATIN}{{4,}}")
_BETWEEN_HAN = re.compile(f"(?<={_HAN})(?={_HAN})")
_IN_WORD = re.compile(f"(?<={_LATIN}{{3}})(?={_LATIN}{{3}})")
_GAP = re.compile(f" |(?<={_HAN})(?={_HAN})")
_INSIDE = re.compile(r"(?<=[^\W_])[-'’.,:/](?=[^\W_])")
_SYMBOLS = ("📌", "🔹", "📎", "🔖")
"""None of them is glad or sad."""


@dataclass(frozen=True)
class Perturbation:
    """One change of a text.

    place: "within" changes characters where they stand; "before" and "after" add a sentence, which only texts that are
    judged as a whole can bear.
    """

    name: str
    title: Text
    change: Callable[[str, Random], str]
    place: Literal["within", "before", "after"] = "within"


def typos(text: str, random: Random) -> str:
    """A neighbouring key, two letters swapped, one dropped or doubled, in some words of at least four Latin letters."""
    return _WORD.sub(lambda word: _misspelt(word[0], random) if random.random() < SHARE else word[0], text)


def lower_case(text: str, random: Random) -> str:
    """All in small letters."""
    return text.lower()


def upper_case(text: str, random: Random) -> str:
    """All in capitals."""
    return text.upper()


def without_punctuation(text: str, random: Random) -> str:
    """Without any mark of punctuation but those inside words and numbers (don't, 3.5)."""
    inside = {mark.start() for mark in _INSIDE.finditer(text)}
    return "".join(
        letter
        for place, letter in enumerate(text)
        if place in inside or not unicodedata.category(letter).startswith("P")
    )


def spaces(text: str, random: Random) -> str:
    """A space inside some words, or between some Chinese characters."""
    for places in (_BETWEEN_HAN, _IN_WORD):
        text = places.sub(lambda _: " " if random.random() < SHARE / 2 else "", text)
    return text


def symbols(text: str, random: Random) -> str:
    """A symbol that says nothing, between two words or Chinese characters."""
    gaps = [gap.start() for gap in _GAP.finditer(text)]
    if not gaps:
        return text
    place = random.choice(gaps)
    return f"{text[:place]} {random.choice(_SYMBOLS)} {text[place:].lstrip(' ')}"


def distractor(text: str, random: Random) -> str:
    """A sentence at the end that names nobody, judges nothing and answers nothing."""
    if is_chinese(text):
        return text + random.choice(("此外没有什么要补充的。", "以上就是全部内容。"))
    return text.rstrip() + random.choice(
        (" There is nothing to add to this.", " That is all there is to say.")
    )


def framed(text: str, random: Random) -> str:
    """Another way of handing the text over."""
    if is_chinese(text):
        return random.choice(("请看下面这段话：", "内容如下：")) + text
    return random.choice(("Please look at the following: ", "Here it is: ")) + text


def is_chinese(text: str) -> bool:
    """Whether most letters are of a script without spaces."""
    return 2 * count_unspaced(text) > sum(map(str.isalpha, text))


PERTURBATIONS = (
    Perturbation("typos", Text("typing errors", "英文打字错误"), typos),
    Perturbation("homophones", Text("Chinese homophones", "同音别字"), homophones),
    Perturbation("lower case", Text("all in lower case", "全部小写"), lower_case),
    Perturbation("upper case", Text("all in capitals", "全部大写"), upper_case),
    Perturbation("punctuation", Text("without punctuation", "去掉标点"), without_punctuation),
    Perturbation("script", Text("simplified ↔ traditional", "简繁互换"), other_script),
    Perturbation("width", Text("full-width ↔ half-width", "全角半角互换"), other_width),
    Perturbation("spaces", Text("spaces put in", "插入空格"), spaces),
    Perturbation("symbols", Text("a symbol put in", "插入符号"), symbols),
    Perturbation("distractor", Text("an empty sentence after it", "末尾添一句无关的话"), distractor, "after"),
    Perturbation("framing", Text("other words before it", "开头换一种说法"), framed, "before"),
)
"""All of them; each says of itself what it changes."""


def _misspelt(word: str, random: Random) -> str:
    place = random.randrange(
        1, len(word) - 1
    )  # first letters are hardly ever mistyped, and the last has no neighbour
    letter, rest = word[place], word[place + 1 :]
    near = _KEYS.get(letter.lower())
    changes = [rest[0] + letter + rest[1:], rest, letter + letter + rest]
    if near:
        key = random.choice(near)
        changes.append((key.upper() if letter.isupper() else key) + rest)
    return word[:place] + random.choice(changes)
