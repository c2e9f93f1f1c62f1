"""The steps of a pass over one token, compiled: on a CPU, what it takes to read weights on all cores.

A matrix times one vector goes through one core in the library that torch calls, at less than half of what memory gives.
As a sum of products the compiler splits it over all of them, and the small operations around it are fused.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from hanlin.model.block import Block
from hanlin.model.feedforward import FeedForward
from hanlin.model.flat import Steps
from hanlin.model.headed import Headed
from hanlin.model.position import Rotation


def compiled_steps() -> Steps:
    """Steps that compile what they can when one token comes for the first time; more of them take the plain modules.

    So do mixtures of experts, which choose what they compute. All blocks alike share what is compiled.
    """
    heads = torch.compile(_heads, dynamic=False)
    finish = torch.compile(_finish, dynamic=False)
    logits = torch.compile(_logits, dynamic=False)

    def heads_of(block: Block, x_1NC: Tensor, rotation: Rotation | None) -> tuple[Tensor, Tensor, Tensor]:
        return heads(block, x_1NC, rotation) if x_1NC.shape[1] == 1 else block.heads(x_1NC, rotation)

    def finish_of(block: Block, x_1NC: Tensor, mixed_1NC: Tensor) -> Tensor:
        alone = x_1NC.shape[1] == 1 and isinstance(block.ffn, FeedForward)
        return finish(block, x_1NC, mixed_1NC) if alone else block.finish(x_1NC, mixed_1NC)

    def logits_of(model: Headed, hidden_NC: Tensor) -> Tensor:
        return logits(model, hidden_NC) if len(hidden_NC) == 1 else model.logits(hidden_NC)

    return Steps(heads_of, finish_of, logits_of)


def _heads(block: Block, x_11C: Tensor, rotation: Rotation | None) -> tuple[Tensor, Tensor, Tensor]:
    with _AsSums():
        return block.heads(x_11C, rotation)


def _finish(block: Block, x_11C: Tensor, mixed_11C: Tensor) -> Tensor:
    with _AsSums():
        return block.finish(x_11C, mixed_11C)


def _logits(model: Headed, hidden_1C: Tensor) -> Tensor:
    with _AsSums():
        return model.logits(hidden_1C)


class _AsSums(TorchFunctionMode):
    """Inside, linear layers of one vector on a CPU are sums of products."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.linear and args[0].device.type == "cpu":
            return _linear(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _linear(x: Tensor, weight_OI: Tensor, bias_O: Tensor | None = None) -> Tensor:
    y_O = (weight_OI * x.flatten()).sum(-1)
    y_O = y_O if bias_O is None else y_O + bias_O
    return y_O.view(*x.shape[:-1], -1)
