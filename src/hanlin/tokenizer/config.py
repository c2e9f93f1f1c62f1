"""Settings of the `tokenizer:` section of a recipe."""

from typing import Literal

from pydantic import Field, model_validator

from hanlin.base.config import Settings
from hanlin.tokenizer.patterns import PatternName
from hanlin.tokenizer.special import SPECIAL_TOKENS, ModelName, SpecialTokens

SMALLEST_VOCABULARY = 256 + len(SPECIAL_TOKENS["bpe"].ordered)
"""All bytes and the special tokens: below this no text could be encoded."""


class TokenizerConfig(Settings):
    """How a tokenizer is trained."""

    model: ModelName = "bpe"
    """How text becomes tokens: `bpe` (over bytes), `wordpiece` (BERT's) or `unigram` (the likeliest
    pieces)."""

    vocab_size: int = Field(default=8192, ge=SMALLEST_VOCABULARY, le=1_000_000)
    """Number of tokens, special ones included."""

    sentinels: int = Field(default=0, ge=0, le=1000)
    """Special tokens `<|span_0|>`, `<|span_1|>` ... that stand for spans of text, for the objective `spans`."""

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
        least = SMALLEST_VOCABULARY * (2 if self.model == "unigram" else 1) + self.sentinels
        if self.vocab_size < least:
            with_sentinels = f" with {self.sentinels} sentinels" if self.sentinels else ""
            raise ValueError(
                f"vocab_size must be at least {least} when model is {self.model}{with_sentinels}"
            )
        return self

    @property
    def special(self) -> SpecialTokens:
        """The special tokens, which have the first ids of the vocabulary."""
        return SPECIAL_TOKENS[self.model].with_sentinels(self.sentinels)
