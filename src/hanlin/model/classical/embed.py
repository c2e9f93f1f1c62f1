"""Token vectors of the classical models, and how vectors learned elsewhere become a model's first ones.

B batch, T time, C width, V vocabulary.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hanlin.base.errors import ConfigError
from hanlin.base.language import Text


class TokenVectors(nn.Module):
    """A vector for each token, under the name that it has in every model here: `embed.token`."""

    def __init__(self, vocab_size: int, width: int, pad_id: int | None = None) -> None:
        super().__init__()
        self.token = nn.Embedding(vocab_size, width, padding_idx=pad_id)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """(B, T, C)."""
        out: Tensor = self.token(tokens_BT)
        return out


@torch.no_grad()
def initialize_from(model: nn.Module, vectors_VC: NDArray[np.floating]) -> None:
    """Let `embed.token` of any model here begin from `vectors_VC` (Word2Vec, GloVe, or of another source).

    The vectors are centred and scaled to the spread that the model's own first values had, so that learning rates
    stay right. Tokens without a vector (a row of NaN) keep theirs. Raises `ConfigError` for another shape.
    """
    table = model.get_parameter("embed.token.weight")
    if tuple(table.shape) != vectors_VC.shape:
        raise ConfigError(
            Text(
                f"The vectors have shape {vectors_VC.shape}, the model's embedding {tuple(table.shape)}.",
                f"词向量的形状为 {vectors_VC.shape}，而模型嵌入的形状为 {tuple(table.shape)}。",
            ),
            Text(
                "Train vectors with the same tokenizer and the width of the model.",
                "请用同一分词器、按模型的宽度训练词向量。",
            ),
        )
    given_VC = torch.as_tensor(vectors_VC, dtype=table.dtype, device=table.device)
    known_V = given_VC.isfinite().all(dim=1)
    given_VC = given_VC[known_V] - given_VC[known_V].mean(dim=0)
    table[known_V] = given_VC * (table.std() / given_VC.std().clamp_min(1e-12))
