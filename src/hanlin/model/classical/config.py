"""Settings of the neural language models that came before the Transformer."""

from typing import Literal

from pydantic import Field

from hanlin.base.config import Settings


class FeedForwardConfig(Settings):
    """The feed-forward language model of Bengio et al. 2003."""

    vocab_size: int = Field(ge=1)
    """Rows of the embedding."""
    width: int = Field(128, ge=1)
    """Length of the vector that stands for one token."""
    context: int = Field(4, ge=1)
    """Tokens that a prediction sees: n - 1 for an n-gram window."""
    hidden: int = Field(256, ge=1)
    """Width of the hidden layer."""
    direct: bool = False
    """Whether the token vectors are also connected to the output directly."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of hidden values dropped while training."""
    window: int = Field(512, ge=2)
    """The longest row; nothing beyond `context` tokens back is seen in it."""


class RecurrentConfig(Settings):
    """A recurrent language model (Mikolov et al. 2010) with Elman, LSTM or GRU cells."""

    cell: Literal["rnn", "lstm", "gru"]
    """Elman 1990; Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000; Cho et al. 2014."""
    vocab_size: int = Field(ge=1)
    """Rows of the embedding."""
    width: int = Field(128, ge=1)
    """Length of the vector that stands for one token."""
    hidden: int = Field(256, ge=1)
    """Width of the recurrent state."""
    layers: int = Field(1, ge=1)
    """Recurrent layers, one above another."""
    tied: bool = True
    """Whether the output head shares the embedding's weights (arXiv 1608.05859)."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of values dropped between layers while training."""
    window: int = Field(512, ge=2)
    """The longest row: gradients flow back, and state is carried, over at most so many tokens."""
