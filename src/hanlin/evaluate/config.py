"""`EvaluateConfig`: the section `evaluate:` of a recipe."""

from pydantic import Field

from hanlin.base.config import Settings
from hanlin.base.records import Split


class EvaluateConfig(Settings):
    """What is examined, against what, and how sure the figures have to be."""

    split: Split = "test"
    """The split that is examined; the model must not have been trained on it."""
    max_documents: int | None = Field(None, ge=1)
    """Examine at most this many documents, drawn at random (default: all); the report says how many."""
    max_bytes: int | None = Field(20_000_000, ge=1)
    """Examine documents, drawn at random, up to this many bytes of text (null: all)."""
    ngram_order: int = Field(5, ge=1, le=12)
    """Length of the n-grams of the model that the Transformer is held against."""
    ngram_max_tokens: int = Field(20_000_000, ge=1)
    """The n-gram model counts documents from the first on until this many tokens; the report says how many."""
    resamples: int = Field(1000, ge=100)
    """Bootstrap resamples behind each interval."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Seed of the random draw of documents, of the bootstrap and of the samples."""
    pseudo_tokens: int = Field(2000, ge=0)
    """Of a masked language model, so many tokens of the split are hidden one at a time; 0: no pseudo-perplexity."""
    prompts: tuple[str, ...] = ()
    """Beginnings that the model continues, for people to read."""
    max_new_tokens: int = Field(80, ge=1)
    """The longest continuation, in tokens."""
    temperature: float = Field(0.7, ge=0, le=1e6, allow_inf_nan=False)
    """Randomness of the continuations; 0 takes the likeliest token each time."""
