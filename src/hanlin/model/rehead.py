"""Another head on the same body: what was pre-trained stays, what is new begins at random.

The body's modules are shared, not copied: the old model is not to be used beside the new one.
"""

from typing import Any

import torch
from torch import nn

from hanlin.base.errors import ConfigError
from hanlin.base.language import Text
from hanlin.model.assemble import build_outline
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from hanlin.model.encoder import Encoder
from hanlin.model.initialize import initialize


def with_head(model: Decoder | Encoder, **head: Any) -> tuple[Decoder | Encoder, list[str]]:
    """A model of the settings `head` (`head`, `labels`, `label_names`, `crf`, `pooling`, ...), and its new parameters' names.

    Modules after the body (transform, pooler, output) stay where they have the same shapes. New ones are drawn from
    torch's current random generator. Raises `ConfigError` for a head that does not fit the assembly.
    """
    config = _with_settings(model.config, head)
    changed = build_outline(config)
    assert isinstance(changed, Decoder | Encoder)
    new, same_head = list[str](), _says(config) == _says(model.config)
    for name, module in list(changed.named_children()):
        own = getattr(model, name, None)
        if own is not None and _shapes(own) == _shapes(module) and (name != "head" or same_head):
            setattr(changed, name, own)
        elif _shapes(module):
            new += [f"{name}.{inner}" for inner in _shapes(module)]
            setattr(changed, name, _begun(module, config, next(model.parameters())))
    changed.tie()
    changed.train(model.training)
    kept = {id(parameter) for parameter in model.parameters()}  # a tied head is the embedding's, and not new
    return changed, [name for name in new if id(changed.get_parameter(name)) not in kept]


def _with_settings(config: CoreConfig, head: dict[str, Any]) -> CoreConfig:
    given = config.model_dump(exclude={"labels", "label_names", "multi_label", "crf", "pooler"}) | {
        "tied": config.tied and head.get("head", config.head) in ("lm", "masked", "pretraining")
    }
    try:
        return CoreConfig.model_validate({**given, **head})
    except ValueError as error:
        raise ConfigError(
            Text(f"This model cannot have such a head: {error}", f"该模型不能使用这样的 head：{error}"),
            Text("Choose another model for this task.", "请为该任务另选模型。"),
        ) from error


def _says(config: CoreConfig) -> tuple[object, ...]:
    """What the outputs of a head mean."""
    names = config.label_names or tuple(f"LABEL_{number}" for number in range(config.labels))
    over_vocabulary = config.head in ("lm", "masked", "pretraining")
    return ("vocabulary",) if over_vocabulary else (config.head, names, config.multi_label)


def _shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {name: parameter.shape for name, parameter in module.named_parameters()}


def _begun(module: nn.Module, config: CoreConfig, like: nn.Parameter) -> nn.Module:
    """The module with memory and initial values."""
    module = module.to_empty(device=like.device).to(like.dtype)
    holder = nn.Module()
    holder.config = config  # type: ignore[assignment]
    holder.add_module("new", module)
    initialize(holder)
    return module
