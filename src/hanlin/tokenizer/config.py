"""Settings of the `tokenizer:` section of a recipe."""

from typing import Literal

from pydantic import Field

from hanlin.base.config import Settings
from hanlin.tokenizer.patterns import PatternName
from hanlin.tokenizer.special import SpecialTokens

SMALLEST_VOCABULARY = 256 + len(SpecialTokens().ordered())
"""All bytes and the special tokens: below this no text could be encoded."""


class TokenizerConfig(Settings):
    """How a tokenizer is trained."""

    vocab_size: int = Field(default=8192, ge=SMALLEST_VOCABULARY, le=1_000_000)
    """Number of tokens, special ones included."""

    min_frequency: int = Field(default=2, ge=1)
    """A pair of tokens must occur this often to become one token."""

    pattern: PatternName = "hanlin"
    """How text is cut before merging: `hanlin` (Han characters apart, pieces of bounded length) or
    `llama3`."""

    max_characters: int = Field(default=20_000_000, ge=1)
    """Train on about this many characters at most, drawn evenly; memory is some 30 bytes a character."""

    on_small: Literal["stop", "shrink"] = "stop"
    """When the text yields fewer tokens than `vocab_size`: stop and say so, or keep the smaller
    vocabulary."""
