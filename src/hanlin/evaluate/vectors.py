"""How good word vectors are: do near words mean like things, and do differences carry relations?

Shape suffixes: V words, C width, Q questions, P pairs.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from hanlin.base.errors import DataError
from hanlin.base.language import Text
from hanlin.evaluate.correlation import spearman

Floats = NDArray[np.float64]
Similarity = tuple[str, str, float]
"""Two words and how alike people find them, on any scale."""
Analogy = tuple[str, str, str, str]
"""a is to b as c is to d."""
Row = TypeVar("Row")


class WordVectors:
    """Vectors of words. A word without a vector (a row of NaN, as training leaves for what it never saw) is unknown."""

    def __init__(self, words: Sequence[str], vectors_VC: NDArray[np.floating]) -> None:
        assert len(words) == len(vectors_VC)
        known_V = np.isfinite(vectors_VC).all(axis=1) & (np.abs(vectors_VC).sum(axis=1) > 0)
        self.words = tuple(word for word, known in zip(words, known_V, strict=True) if known)
        self.vectors_VC = np.asarray(vectors_VC[known_V], np.float64)

    @cached_property
    def place(self) -> dict[str, int]:
        """The row of each word."""
        return {word: row for row, word in enumerate(self.words)}

    @cached_property
    def units_VC(self) -> Floats:
        """The vectors scaled to length 1."""
        lengths_V1: Floats = np.linalg.norm(self.vectors_VC, axis=1, keepdims=True)
        return self.vectors_VC / lengths_V1

    def nearest(self, word: str, most: int = 10) -> list[tuple[str, float]]:
        """The words of the highest cosine to `word`, best first; raises `DataError` for an unknown word."""
        if word not in self.place:
            raise DataError(
                Text(f"There is no vector for {word!r}.", f"没有“{word}”的词向量。"),
                Text(
                    "Ask for a word of the text that the vectors come from.", "请换一个训练文本中出现过的词。"
                ),
            )
        cosine_V = self.units_VC @ self.units_VC[self.place[word]]
        order = np.argsort(-cosine_V)[: most + 1]
        return [(self.words[row], float(cosine_V[row])) for row in order if self.words[row] != word][:most]


@dataclass(frozen=True)
class VectorResult:
    """A figure, over how many questions it is, and how many were left out for a word without a vector."""

    value: float
    asked: int
    unknown: int


def similarity(vectors: WordVectors, pairs: Sequence[Similarity]) -> VectorResult:
    """Spearman's correlation between cosines and what people say; NaN with fewer than two known pairs."""
    known = [pair for pair in pairs if pair[0] in vectors.place and pair[1] in vectors.place]
    first, second = [vectors.place[a] for a, _, _ in known], [vectors.place[b] for _, b, _ in known]
    cosine_P = (vectors.units_VC[first] * vectors.units_VC[second]).sum(axis=1)
    value = spearman(cosine_P, [human for _, _, human in known])
    return VectorResult(value, len(known), len(pairs) - len(known))


def analogies(vectors: WordVectors, questions: Sequence[Analogy]) -> VectorResult:
    """Share of questions whose d is the word nearest to b - a + c, the three given words left out (3CosAdd).

    Source: Mikolov et al. 2013 (NAACL), section 4; the name is Levy & Goldberg's (2014). Vectors have length 1.
    """
    known = [question for question in questions if all(word in vectors.place for word in question)]
    if not known:
        return VectorResult(np.nan, 0, len(questions))
    a_Q, b_Q, c_Q, d_Q = np.array([[vectors.place[word] for word in question] for question in known]).T
    units_VC = vectors.units_VC
    cosine_QV = (units_VC[b_Q] - units_VC[a_Q] + units_VC[c_Q]) @ units_VC.T
    for given_Q in (a_Q, b_Q, c_Q):
        cosine_QV[np.arange(len(known)), given_Q] = -np.inf
    right = float((cosine_QV.argmax(axis=1) == d_Q).mean())
    return VectorResult(right, len(known), len(questions) - len(known))


def read_similarities(path: Path) -> list[Similarity]:
    """Lines of two words and a number, between blanks, tabs or commas (WordSim-353, SimLex-like, PKU-500).

    A first line whose third field is no number is a header. Raises `DataError` that names the line at fault.
    """

    def read(fields: list[str]) -> Similarity:
        return fields[0], fields[1], float(fields[2])

    return list(_rows(path, 3, read, "two words and a number", "两个词和一个数"))


def read_analogies(path: Path) -> list[Analogy]:
    """Lines of four words; lines that begin with ':' name sections and are passed over (questions-words.txt)."""

    def read(fields: list[str]) -> Analogy:
        return fields[0], fields[1], fields[2], fields[3]

    return list(_rows(path, 4, read, "four words", "四个词"))


def _rows(
    path: Path, fields: int, read: Callable[[list[str]], Row], what_en: str, what_zh: str
) -> Iterator[Row]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            Text(f"Cannot read {path}: {error}", f"无法读取 {path}：{error}"),
            Text("Give a UTF-8 text file.", "请给出 UTF-8 文本文件。"),
        ) from error
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith((":", "#")):
            continue
        parts = line.replace("\t", " ").replace(",", " ").split()
        try:
            if len(parts) < fields:
                raise ValueError(line)
            yield read(parts)
        except ValueError as error:
            if number == 1 and len(parts) >= fields:  # names of columns
                continue
            raise DataError(
                Text(
                    f"{path}:{number}: expected {what_en}: {line!r:.60}",
                    f"{path}:{number}：应为{what_zh}：{line!r:.60}",
                ),
                Text("Mend or delete that line.", "请修改或删除该行。"),
            ) from error
