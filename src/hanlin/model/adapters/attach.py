"""Modules of a model replaced by ones that adapters can hang on, and back."""

from typing import cast

from torch import nn

from hanlin.base.errors import ConfigError
from hanlin.base.language import Text
from hanlin.model.adapters.layer import AdaptedLinear, ExpertsByRow
from hanlin.model.adapters.names import linear_layers
from hanlin.model.adapters.prefix import Prefixes
from hanlin.model.adapters.prompt import PromptedEmbedding
from hanlin.model.adapters.switch import Switch
from hanlin.model.assemble import Model
from hanlin.model.experts import Experts
from hanlin.model.seq2seq import Seq2Seq
from hanlin.model.stack import Stack


def adapted_layers(model: Model) -> dict[str, AdaptedLinear]:
    """The layers that adapters can hang on already, by full name."""
    return {name: layer for name, layer in linear_layers(model).items() if isinstance(layer, AdaptedLinear)}


def adapt(model: Model, name: str, switch: Switch) -> AdaptedLinear:
    """The linear layer of this name, which from now on can have adapters; so can a mixture that it lies in."""
    layer = model.get_submodule(name)
    if isinstance(layer, AdaptedLinear):
        return layer
    adapted = AdaptedLinear(cast(nn.Linear, layer), switch)
    _replace(model, name, adapted)
    around = name.split(".experts.")[0]
    experts = model.get_submodule(around)
    if isinstance(experts, Experts) and not isinstance(experts, ExpertsByRow):
        _replace(model, around, ExpertsByRow(experts, switch))
    return adapted


def token_table(model: Model) -> PromptedEmbedding:
    """The token table, which from now on can have prompts."""
    embed = (model.encoder if isinstance(model, Seq2Seq) else model).embed
    if not isinstance(embed.token, PromptedEmbedding):
        embed.token = PromptedEmbedding(embed.token, model.config)
        model.tie()
    return embed.token


def reader(model: Model) -> Stack:
    """The stack before whose tokens prefixes stand: the one that writes the text."""
    return model.decoder if isinstance(model, Seq2Seq) else model


def prefixes(model: Model, switch: Switch) -> Prefixes:
    """What holds the prefixes. Raises `ConfigError` for an encoder, which keeps no keys and values."""
    stack = reader(model)
    if not stack.causal:
        raise ConfigError(
            Text("A prefix needs a model that writes text; this is an encoder.",
                 "前缀微调需要能生成文本的模型，而这是编码器。"),
            Text("Use LoRA or a prompt.", "请改用 LoRA 或提示微调。"),
        )  # fmt: skip
    if stack.prefixes is None:
        stack.prefixes = Prefixes(model.config, len(stack.blocks), switch)
    return stack.prefixes


def restore(model: Model) -> None:
    """Put plain modules back, with the parameters that are there now."""
    for name, module in list(model.named_modules()):
        if isinstance(module, AdaptedLinear | ExpertsByRow | PromptedEmbedding):
            _replace(model, name, module.plain())
    reader(model).prefixes = None
    model.tie()


def _replace(model: Model, name: str, module: nn.Module) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(parent), leaf, module)
