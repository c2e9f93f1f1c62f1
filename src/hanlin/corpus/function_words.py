"""Seeing that the small words have been taken out of a text that a language model is to learn from.

Removing stop words helps keyword search; a generative model that never reads them can not write a sentence.
"""

import re

from hanlin.base.language import Text

ENGLISH = frozenset({"the", "of", "and", "to", "in", "a", "is"})
CHINESE = frozenset("的了是在不和有也而之其以")
"""The most frequent words and characters of any running text, old or new."""

ENOUGH = 5_000
"""Words, or Han characters, below which nothing is concluded."""
LEAST = {"English": 0.01, "Chinese": 0.005}
"""Running text has twenty and ten times this share; lists and program code a few times."""

_WORD = re.compile(r"[a-z]+")
_HAN = re.compile(r"[一-鿿]")


class FunctionWords:
    """Counts words and characters as texts pass, and how many of them are small ones."""

    def __init__(self) -> None:
        self.counts = {"English": [0, 0], "Chinese": [0, 0]}

    def add(self, text: str) -> None:
        """Count one text."""
        for language, pieces, small in (
            ("English", _WORD.findall(text.lower()), ENGLISH),
            ("Chinese", _HAN.findall(text), CHINESE),
        ):
            self.counts[language][0] += len(pieces)
            self.counts[language][1] += sum(piece in small for piece in pieces)

    def warnings(self) -> list[Text]:
        """A sentence for each language whose small words are all but gone."""
        found = []
        for language, chinese in (("English", "英文"), ("Chinese", "中文")):
            total, small = self.counts[language]
            if total >= ENOUGH and small < LEAST[language] * total:
                found.append(
                    Text(
                        f"Only {small / total:.2%} of the {language} words are small ones such as 'the' or '的': "
                        "were stop words removed? A language model needs them; give it the whole text.",
                        f"{chinese}文本中“的”、“the”一类的虚词只占 {small / total:.2%}：是否去除了停用词？"
                        "语言模型需要它们，请提供完整文本。",
                    )
                )
        return found
