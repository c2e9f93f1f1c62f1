"""What a sweep asks for, held against the recipe before anything runs: parameters, values, metric."""

import difflib
from collections.abc import Sequence
from pathlib import Path

import torch

from hanlin.base.config import place_of
from hanlin.base.device import Compute
from hanlin.base.errors import ConfigError
from hanlin.base.language import Text
from hanlin.model.assemble import build_model
from hanlin.stages.checks import check_splits, check_trainable
from hanlin.stages.objectives import build_mixture
from hanlin.stages.plan import RandomTokens
from hanlin.stages.recipe import Recipe, read_recipe
from hanlin.stages.sweep_trial import EXAMINED, as_overrides
from hanlin.trainer.learner import Learner
from hanlin.trainer.sweep import Range, Setting, SweepConfig
from hanlin.trainer.validate import validate

_NOT_TRIED = ("folder", "sweep", "ladder")


def check_sweep(path: Path, overrides: Sequence[str]) -> tuple[Recipe, SweepConfig]:
    """The recipe and its `sweep:` with metric and direction filled in.

    Raises `ConfigError` that names file, line and the nearest key for a parameter that is none and a value that does not
    fit; for a metric that the objectives do not log, or no law is fitted to; for a pruner that would see no metric.
    """
    recipe = read_recipe(path, overrides)
    config = recipe.sweep
    if not config.parameters:
        raise ConfigError(
            Text(f"{path} has no sweep.parameters: there is nothing to try.", f"{path} 没有 sweep.parameters：没有可以尝试的设置。"),
            Text("Give some, such as sweep: {parameters: {pretrain.learning_rate: [1e-3, 3e-3]}}.",
                 "请给出，例如 sweep: {parameters: {pretrain.learning_rate: [1e-3, 3e-3]}}。"),
        )  # fmt: skip
    for name in config.parameters:
        if name.split(".")[0] in _NOT_TRIED:
            raise _cannot_be(
                path, overrides, name, Text(f"{name} cannot be tried.", f"{name} 不能作为搜索参数。")
            )
    check_splits(recipe)
    for setting in _settings(config):
        _check_setting(path, overrides, setting)
    metric = config.metric or recipe.pretrain.metric
    _check_metric(path, overrides, recipe, metric)
    better = _better(recipe, metric)
    if config.fit is not None and (better == "higher" or metric == "perplexity"):
        place = place_of(path, ("sweep", "fit"), overrides)
        raise ConfigError(
            Text(f"{place}: a scaling law is that of a loss, and {metric} is none.",
                 f"{place}：缩放律描述的是损失，而 {metric} 不是损失。"),
            Text("Choose valid_loss or bits_per_byte as sweep.metric, or leave fit out.",
                 "请把 sweep.metric 设为 valid_loss 或 bits_per_byte，或去掉 fit。"),
        )  # fmt: skip
    return recipe, config.model_copy(update={"metric": metric, "better": better})


def _better(recipe: Recipe, metric: str) -> str:
    if recipe.sweep.better is not None:
        return recipe.sweep.better
    return recipe.pretrain.better if metric == recipe.pretrain.metric else "lower"


def _settings(config: SweepConfig) -> list[Setting]:
    """What has to fit the recipe: every point of a grid; of other searches each value, and the ends of each range."""
    settings = config.grid() if config.sampler == "grid" else []
    if config.sampler != "grid":
        for name, values in config.parameters.items():
            ends = (values.low, values.high) if isinstance(values, Range) else values
            settings += [{name: value} for value in ends]
    return settings + ([config.held_out] if config.held_out is not None else [])


def _check_setting(path: Path, overrides: Sequence[str], setting: Setting) -> None:
    problem = _problem(path, overrides, setting)
    if problem is None:
        return
    for name, value in setting.items():
        alone = _problem(path, overrides, {name: value})
        if alone is not None:
            raise _cannot_be(path, overrides, name, alone)
    raise _cannot_be(path, overrides, None, problem)


def _problem(path: Path, overrides: Sequence[str], setting: Setting) -> Text | None:
    """Why a setting does not fit, if it does not."""
    try:
        check_trainable(read_recipe(path, [*overrides, *as_overrides(dict(setting))]))
    except ConfigError as error:
        return error.problem
    return None


def _cannot_be(path: Path, overrides: Sequence[str], name: str | None, problem: Text) -> ConfigError:
    keys = ("sweep", "parameters", *([name] if name else []))
    place = place_of(path, keys, overrides)
    return ConfigError(
        Text(f"{place}: {problem.en}", f"{place}：{problem.zh}"),
        Text("Mend sweep.parameters and run again.", "请修改 sweep.parameters 后重新运行。"),
    )


def _check_metric(path: Path, overrides: Sequence[str], recipe: Recipe, metric: str) -> None:
    place = place_of(path, ("sweep", "metric"), overrides)
    if metric in EXAMINED:
        if recipe.model.assembly != "decoder" or recipe.sweep.pruner is not None:
            raise ConfigError(
                Text(f"{place}: {metric} is measured at the end of a trial, of models that predict the next token.",
                     f"{place}：{metric} 在试验结束时测量，且只适用于预测下一词元的模型。"),
                Text("Choose a logged metric such as valid_loss, or leave the pruner out.", "请改用 valid_loss 等训练中记录的指标，或去掉 pruner。"),
            )  # fmt: skip
        return
    known = [*logged_metrics(recipe), *EXAMINED]
    if metric not in known:
        near = difflib.get_close_matches(metric, known, n=1, cutoff=0.5)
        hint = Text(f" Did you mean '{near[0]}'?", f"是否想写“{near[0]}”？") if near else Text("", "")
        raise ConfigError(
            Text(
                f"{place}: validation logs no '{metric}'.{hint.en}",
                f"{place}：验证不记录“{metric}”。{hint.zh}",
            ),
            Text(f"Choose from {', '.join(known)}.", f"可选：{'、'.join(known)}。"),
        )


def logged_metrics(recipe: Recipe) -> list[str]:
    """What a validation of this recipe logs, tried out with random weights on random tokens."""
    vocab_size = recipe.model.vocab_size or recipe.tokenizer.vocab_size
    core = recipe.model.model_copy(update={"vocab_size": vocab_size, "layers": 1, "decoder_layers": 1})
    tried = recipe.model_copy(update={"model": core})
    mixture = build_mixture(
        tried, RandomTokens(vocab_size, core.window, tried.tokenizer.special.ids()), ("train", "train")
    )
    with torch.random.fork_rng():
        learner = Learner(build_model(core))
        return list(validate(learner, mixture, 1, Compute(torch.device("cpu"), torch.float32)))
