"""Layers that ask the switch which adapter a row goes through; they take the place of plain ones.

B rows, T time, C width.
"""

from typing import cast

import torch
from torch import Tensor, nn

from hanlin.model.adapters.lora import Change
from hanlin.model.adapters.switch import Choice, Switch
from hanlin.model.experts import Experts


class AdaptedLinear(nn.Linear):
    """A linear layer with the changes of any number of adapters; it holds the parameters of the one it replaces."""

    def __init__(self, layer: nn.Linear, switch: Switch) -> None:
        super().__init__(layer.in_features, layer.out_features, layer.bias is not None, device="meta")
        self.weight, self.bias = layer.weight, layer.bias
        self.switch = switch
        self.changes = nn.ModuleDict()
        self.train(layer.training)

    def change(self, name: str) -> Change:
        """What the adapter `name` does to this layer."""
        return cast(Change, self.changes[name])

    def forward(self, input: Tensor) -> Tensor:
        """(B, ..., I) -> (B, ..., O), each row through its own adapter."""
        out = super().forward(input)
        for name, index in self.switch.choice.indices(len(input), input.device):
            if name is None or name not in self.changes:
                continue
            change = self.change(name)
            if index is None:
                out = change(input, out, self)
            else:
                out = out.index_copy(0, index, change(input[index], out[index], self))
        return out

    def plain(self) -> nn.Linear:
        """A plain layer with the parameters that this one has now."""
        layer = nn.Linear(self.in_features, self.out_features, self.bias is not None, device="meta")
        layer.weight, layer.bias = self.weight, self.bias
        return layer.train(self.training)


class ExpertsByRow(Experts):
    """A mixture of experts that reads the rows of one adapter at a time: inside, tokens have no rows any more."""

    def __init__(self, experts: Experts, switch: Switch) -> None:
        nn.Module.__init__(self)
        self.__dict__.update(experts.__dict__)
        self.switch = switch

    def forward(self, x_BTC: Tensor) -> Tensor:
        """Transform each position alone: (B, T, C). `balance` is the mean over the rows."""
        out_BTC, balance = torch.zeros_like(x_BTC), x_BTC.new_zeros(())
        for name, index in self.switch.choice.indices(len(x_BTC), x_BTC.device):
            if index is None:
                return super().forward(x_BTC)
            with self.switch.choosing(Choice(((name, None),))):
                out_BTC = out_BTC.index_copy(0, index, super().forward(x_BTC[index]))
            if self.balance is not None:
                balance = balance + self.balance * len(index) / len(x_BTC)
        self.balance = balance if self.training else None
        return out_BTC

    def plain(self) -> Experts:
        """A plain mixture with the same parameters."""
        experts = Experts.__new__(Experts)
        experts.__dict__.update(self.__dict__)
        del experts.switch
        return experts
