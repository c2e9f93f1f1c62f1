"""AdaGrad for a few rows of a large table at a time. Source: Duchi et al. 2011 (JMLR 12), figure 1, diagonal case.

R rows of the table, N gradients, U distinct rows among them, C width (absent for a table of single values).
"""

import torch
from torch import Tensor

_EPSILON = 1e-8


class RowAdaGrad:
    """W <- W - lr g / sqrt(sum of all g^2 so far), for each value by itself.

    Rare rows keep large steps and frequent ones get small ones: what lets a batch of thousands of words be taken
    at once, where plain descent, which is written for one word at a time, would overshoot on the frequent ones.
    """

    def __init__(self, table: Tensor, learning_rate: float) -> None:
        self.table, self.learning_rate = table, learning_rate
        self.squares = torch.zeros_like(table)

    def update(self, rows_N: Tensor, gradient_N: Tensor) -> None:
        """One step; gradients of equal rows are summed first. gradient_N has the shape of `table[rows_N]`."""
        rows_U, place_N = torch.unique(rows_N, return_inverse=True)
        gradient_U = gradient_N.new_zeros(len(rows_U), *self.table.shape[1:])
        gradient_U.index_add_(0, place_N, gradient_N)
        squares_U = self.squares[rows_U] + gradient_U.square()
        self.squares[rows_U] = squares_U
        self.table[rows_U] -= self.learning_rate * gradient_U / (squares_U.sqrt() + _EPSILON)
