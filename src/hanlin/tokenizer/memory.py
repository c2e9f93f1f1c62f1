"""How much text a trainer can take within a given memory.

A trainer holds every distinct piece (word) of its text, symbol by symbol, so its memory follows what is
distinct. The vocabulary of a text grows as a power of its length (Heaps 1978); where nothing repeats, as in
runs of Chinese without punctuation cut every 32 characters, it grows in proportion.
"""

import math
from collections.abc import Callable, Iterable

from hanlin.tokenizer.special import ModelName

BYTES_PER_SYMBOL: dict[ModelName, int] = {"bpe": 100, "wordpiece": 100, "unigram": 300}
"""Peak memory of training, per symbol of distinct pieces: bytes of text for BPE, else characters. Measured
with `benchmarks/tokenizer_memory.py`, rounded up."""

MOST_BYTES_PER_CHARACTER = 4
"""In UTF-8."""


def safe_characters(budget: float, model: ModelName) -> int:
    """Characters whose training takes at most `budget` bytes whatever they are."""
    symbols = MOST_BYTES_PER_CHARACTER if model == "bpe" else 1
    return int(budget / (BYTES_PER_SYMBOL[model] * symbols))


def affordable_characters(
    sample: Iterable[str], pieces: Callable[[str], Iterable[str]], budget: float, model: ModelName
) -> int:
    """Characters of text like `sample` whose training takes about `budget` bytes, by Heaps' law fitted to
    the second half of `sample`."""
    seen: set[str] = set()
    symbols, characters = 0, 0
    curve = []
    for text in sample:
        new = set(pieces(text)) - seen
        seen |= new
        symbols += sum(map(len, new))
        characters += len(text)
        curve.append((characters, symbols))
    assert symbols > 0
    half, symbols_at_half = next(point for point in curve if 2 * point[0] >= characters)
    growth = 1.0
    if half < characters:
        growth = math.log(symbols / symbols_at_half) / math.log(characters / half)
    affordable = budget / BYTES_PER_SYMBOL[model] / symbols
    return int(characters * affordable ** (1 / max(growth, 0.1)))
