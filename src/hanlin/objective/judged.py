"""What a model says of texts, laid out in either way, and which models can be asked.

B texts, T time, C width.
"""

from torch import Tensor, nn

from hanlin.base.errors import ConfigError
from hanlin.base.language import Text
from hanlin.batches.ragged import Inputs
from hanlin.model.headed import Headed


def headed(model: nn.Module, *heads: str) -> Headed:
    """`model`, whose head is one of `heads`; raises `ConfigError` for another, which the objective does not fit."""
    assert isinstance(model, Headed)
    if model.config.head not in heads:
        raise ConfigError(
            Text(f"The objective does not fit a model of head {model.config.head}.",
                 f"该目标不适用于 head 为 {model.config.head} 的模型。"),
            Text(f"Give it a model of head {' or '.join(heads)}.", f"请使用 head 为 {' 或 '.join(heads)} 的模型。"),
        )  # fmt: skip
    return model


def hidden(model: Headed, inputs: Inputs) -> Tensor:
    """The last hidden state of each token, in the layout of the inputs: (B, T, C), or (1, N, C) if packed."""
    return model.hidden(
        inputs.tokens_BT, inputs.positions_BT, inputs.documents_BT, segments_BT=inputs.segments_BT
    )


def judgements(model: nn.Module, inputs: Inputs, head: str) -> Tensor:
    """What the head classify (B, K) or regress (B,) says of each text, float32; raises as `headed`.

    A classical network is asked with tokens alone, and knows padding by its id.
    """
    if not isinstance(model, Headed):
        said: Tensor = model(inputs.tokens_BT)
        return said
    return headed(model, head).judge(*inputs.apart(hidden(model, inputs)))


def vectors(model: Headed, inputs: Inputs) -> Tensor:
    """The vector that stands for each text, by the model's pooling: (B, C)."""
    return model.pooled(*inputs.apart(hidden(model, inputs)))
