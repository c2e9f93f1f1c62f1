"""What training and scoring ask of a language model, whatever it is made of.

B batch, T time, V vocabulary.
"""

from typing import Protocol

from torch import Tensor


class Shape(Protocol):
    """The two settings that every language model has."""

    @property
    def vocab_size(self) -> int:
        """Number of tokens that it gives a probability to."""

    @property
    def window(self) -> int:
        """The longest input, in tokens."""


class CausalModel(Protocol):
    """A network that gives P(x_t | x_<t): the Transformer decoder and the rungs below it on the ladder.

    P(x_{t+1} | x_1 .. x_t) = softmax(logits(hidden_t)). The table of token vectors is `embed.token`; the matrices
    between it and the head are in `blocks`.
    """

    training: bool

    @property
    def config(self) -> Shape:
        """Its settings."""

    def hidden(
        self, tokens_BT: Tensor, positions_BT: Tensor | None = None, documents_BT: Tensor | None = None
    ) -> Tensor:
        """The state after each token, from which the next one is predicted: (B, T, any width)."""

    def logits(self, hidden_BTC: Tensor) -> Tensor:
        """Scores of the next token from states: (..., V), float32."""

    def __call__(
        self, tokens_BT: Tensor, positions_BT: Tensor | None = None, documents_BT: Tensor | None = None
    ) -> Tensor:
        """Logits of the next token at each position: (B, T, V), float32. Documents of a row stay apart."""
