"""The scale of the loss in float16, whose smallest gradients would be rounded to zero.

Source: Micikevicius et al. 2018, arXiv 1710.03740, sections 3.2 and 4.1: the loss is multiplied before the backward
pass and the gradient divided after it; the factor is halved when a gradient overflows, whose step is left out, and
doubled after many steps without.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from hanlin.trainer.parallel import own_part

GROW_AFTER = 2000
"""Steps without an overflow after which the scale doubles."""


@dataclass
class LossScale:
    """A power of two, so that scaling alone rounds nothing; part of the train state."""

    scale: float = 2.0**16
    good_steps: int = 0

    def undo(self, parameters: Iterable[nn.Parameter]) -> None:
        """Divide the gradients by the scale that the loss was multiplied by."""
        gradients = [own_part(parameter.grad) for parameter in parameters if parameter.grad is not None]
        torch._foreach_div_(gradients, self.scale)

    def overflowed(self, finite: bool) -> bool:
        """Take note of whether a step's gradient was finite; whether it only was too large for the format.

        False for a gradient that was not finite at scale 1: that is not the format's fault.
        """
        if finite:
            self.good_steps += 1
            if self.good_steps == GROW_AFTER:
                self.scale, self.good_steps = self.scale * 2, 0
            return False
        if self.scale <= 1:
            return False
        self.scale, self.good_steps = self.scale / 2, 0
        return True
