"""Settings of the `tokenizer:` section of a recipe."""

from typing import Literal

from pydantic import Field, model_validator

from hanlin.base.config import Settings
from hanlin.tokenizer.patterns import PatternName
from hanlin.tokenizer.special import SPECIAL_TOKENS, ModelName

SMALLEST_VOCABULARY = 256 + len(SPECIAL_TOKENS["bpe"].ordered)
"""All bytes and the special tokens: below this no text could be encoded."""


class TokenizerConfig(Settings):
    """How a tokenizer is trained."""

    model: ModelName = "bpe"
    """How text becomes tokens: `bpe` (over bytes), `wordpiece` (BERT's) or `unigram` (the likeliest
    pieces)."""

    vocab_size: int = Field(default=8192, ge=SMALLEST_VOCABULARY, le=1_000_000)
    """Number of tokens, special ones included."""

    min_frequency: int = Field(default=2, ge=1)
    """A pair of tokens must occur this often to become one token (`bpe` and `wordpiece`)."""

    pattern: PatternName = "hanlin"
    """How text is cut before merging: `hanlin` (Han characters apart, pieces of bounded length) or
    `llama3`; WordPiece cuts as BERT does."""

    lowercase: bool = False
    """WordPiece only: lower-case letters and drop accents, as uncased BERT."""

    max_characters: int = Field(default=20_000_000, ge=1)
    """Train on about this many characters at most, drawn evenly."""

    memory_gb: float = Field(default=3.0, gt=0)
    """Memory for training, in GB. Where the text would need more, less of it is drawn, and that is said."""

    on_small: Literal["stop", "shrink"] = "stop"
    """When the text yields fewer tokens than `vocab_size`: stop and say so, or keep the smaller
    vocabulary."""

    @model_validator(mode="after")
    def _nothing_without_effect(self) -> "TokenizerConfig":
        defaults = type(self).model_fields
        unused = {
            "bpe": ("lowercase",),
            "wordpiece": ("pattern",),
            "unigram": ("lowercase", "min_frequency"),
        }[self.model]
        for name in unused:
            if getattr(self, name) != defaults[name].default:
                raise ValueError(f"{name} does nothing when model is {self.model}: leave it out")
        if self.model == "unigram" and self.vocab_size < 2 * SMALLEST_VOCABULARY:
            raise ValueError(f"vocab_size must be at least {2 * SMALLEST_VOCABULARY} when model is unigram")
        return self
