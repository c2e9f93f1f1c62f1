"""Which objectives a model and its tokenizer can be pre-trained on, looked at before anything runs."""

from collections.abc import Sequence

from hanlin.base.errors import ConfigError
from hanlin.base.language import Text
from hanlin.model.config import CoreConfig
from hanlin.objective.config import ObjectiveConfig, ObjectiveName
from hanlin.stages.recipe import Recipe
from hanlin.tokenizer.special import SPECIAL_TOKENS

FITS: dict[ObjectiveName, tuple[tuple[str, str], ...]] = {
    "causal": (("decoder", "lm"),),
    "next-sentence": (("encoder", "pretraining"),),
    "sentence-order": (("encoder", "pretraining"),),
    "masked": (("encoder", "masked"), ("encoder", "pretraining")),
    "permutation": (("encoder", "masked"),),
    "spans": (("seq2seq", "lm"), ("decoder", "lm")),
    "prefix": (("decoder", "lm"),),
}
"""The (assembly, head) that each objective trains; the first objective that fits a model is its default."""

_PAIRS = ("next-sentence", "sentence-order")
_ROLES: dict[ObjectiveName, tuple[str, ...]] = {
    "masked": ("mask",),
    "next-sentence": ("mask", "cls", "sep"),
    "sentence-order": ("mask", "cls", "sep"),
}
"""The special tokens that objectives need."""


def default_objective(model: CoreConfig) -> ObjectiveName:
    """The first objective that fits."""
    return next(iter(_fitting(model)), "causal")


def check_fit(recipe: Recipe, configs: Sequence[ObjectiveConfig]) -> None:
    """Raise `ConfigError` if an objective does not fit the model or the tokenizer, or the parts each other."""
    for config in configs:
        if config.kind not in _fitting(recipe.model):
            raise _does_not_fit(config.kind, recipe.model)
        _check_special_tokens(recipe, config.kind)
        _check_model(recipe.model, config.kind)
    kinds = {config.kind for config in configs}
    if recipe.model.head == "pretraining" and len(kinds.intersection(_PAIRS)) != 1:
        raise ConfigError(
            Text(
                f"The head pretraining judges pairs of sentences, by one of {' and '.join(_PAIRS)}; asked for: "
                f"{', '.join(sorted(kinds))}.",
                f"head pretraining 用于判断句对，须且只须包含 {' 与 '.join(_PAIRS)} 之一；现为：{'、'.join(sorted(kinds))}。",
            ),
            Text("Give one of them, or set model.head=masked.", "请给出其中之一，或设置 model.head=masked。"),
        )
    if not recipe.pretrain.separate_documents and kinds <= {"spans", *_PAIRS}:
        raise ConfigError(
            Text(
                f"pretrain.separate_documents does nothing for {', '.join(sorted(kinds))}.",
                f"pretrain.separate_documents 对 {'、'.join(sorted(kinds))} 不起作用。",
            ),
            Text("Leave it out.", "请去掉它。"),
        )


def _fitting(model: CoreConfig) -> list[ObjectiveName]:
    return [name for name, shapes in FITS.items() if (model.assembly, model.head) in shapes]


def _check_special_tokens(recipe: Recipe, kind: ObjectiveName) -> None:
    needed = _ROLES.get(kind, ())
    missing = [role for role in needed if role not in recipe.tokenizer.special.roles]
    if missing:
        able = [name for name, special in SPECIAL_TOKENS.items() if set(needed) <= special.roles.keys()]
        raise ConfigError(
            Text(
                f"The objective {kind} needs the special tokens {', '.join(missing)}; a tokenizer of model "
                f"{recipe.tokenizer.model} has none.",
                f"目标 {kind} 需要特殊词元 {'、'.join(missing)}，而 {recipe.tokenizer.model} 分词器没有。",
            ),
            Text(
                f"Set tokenizer.model to {' or '.join(able)}.",
                f"请把 tokenizer.model 设为 {' 或 '.join(able)}。",
            ),
        )


def _check_model(model: CoreConfig, kind: ObjectiveName) -> None:
    if kind in _PAIRS and model.segments < 2:
        raise ConfigError(
            Text(
                f"The objective {kind} needs a model that tells two sentences apart; model.segments is {model.segments}.",
                f"目标 {kind} 需要能区分两个句子的模型，而 model.segments 为 {model.segments}。",
            ),
            Text(
                "Set model.segments=2, or model.style=bert.", "请设置 model.segments=2，或 model.style=bert。"
            ),
        )
    if kind == "permutation" and set(model.attention) != {"full"}:
        raise ConfigError(
            Text(
                f"The objective permutation needs full attention; model.attention is {'/'.join(model.attention)}.",
                f"目标 permutation 需要完整注意力，而 model.attention 为 {'/'.join(model.attention)}。",
            ),
            Text("Leave model.attention out.", "请去掉 model.attention。"),
        )


def _does_not_fit(kind: str, model: CoreConfig) -> ConfigError:
    fitting = _fitting(model)
    remedy = (
        Text(f"For this model choose from {', '.join(fitting)}.", f"此模型可选：{'、'.join(fitting)}。")
        if fitting
        else Text(
            "Pre-train with head lm (decoder, seq2seq) or masked or pretraining (encoder); other heads are for fine-tuning.",
            "请用 head lm（decoder、seq2seq）或 masked、pretraining（encoder）预训练；其余的 head 用于微调。",
        )
    )
    return ConfigError(
        Text(f"The objective {kind} does not fit a model of assembly {model.assembly}, head {model.head}.",
             f"目标 {kind} 不适用于 assembly 为 {model.assembly}、head 为 {model.head} 的模型。"),
        remedy,
    )  # fmt: skip
