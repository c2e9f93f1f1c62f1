"""`hanlin average`: the mean of the weights of several checkpoints or models of one shape, as a model folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from hanlin.base.device import Compute
from hanlin.base.errors import CheckpointError, ConfigError
from hanlin.base.language import Text
from hanlin.checkpoint.folder import find_model, open_model, save_model
from hanlin.checkpoint.recognize import read_config
from hanlin.stages.current import differences
from hanlin.trainer.average import mean_weights

_CPU = Compute(torch.device("cpu"), torch.float32)


def run_average(folders: Sequence[Path]) -> dict[str, Any]:
    """Write the mean of all but the last of `folders` to the last, with tokenizer and defaults of the last one; the report.

    Raises `ConfigError` for fewer than two models and a target that is there, `CheckpointError` for models of different
    shapes or tokenizers and for what can not be opened.
    """
    if len(folders) < 3:
        raise ConfigError(
            Text("A mean needs at least two models and the folder to write.", "求平均至少需要两个模型和一个输出目录。"),
            Text("For example: hanlin average run/pretrain/checkpoints/step-800 run/pretrain/checkpoints/step-1000 mean",
                 "例如：hanlin average run/pretrain/checkpoints/step-800 run/pretrain/checkpoints/step-1000 mean"),
        )  # fmt: skip
    *sources, target = folders
    if target.exists():
        raise ConfigError(
            Text(f"{target} exists already.", f"{target} 已存在。"),
            Text("Name another target, or delete it first.", "请另选目标，或先删除它。"),
        )
    found = [find_model(source) for source in sources]
    family, config = read_config(found[-1])
    for folder in found[:-1]:
        changed = differences(read_config(folder)[1].model_dump(), config.model_dump())
        if changed:
            raise CheckpointError(
                Text(f"{folder} and {found[-1]} are of different shapes: {'; '.join(changed)}.",
                     f"{folder} 与 {found[-1]} 的结构不同：{'；'.join(changed)}。"),
                Text("Average models of one shape, best of one run.", "请对结构相同的模型求平均，最好出自同一次训练。"),
            )  # fmt: skip
    model, tokenizer, defaults = open_model(found[-1], _CPU)
    for folder in found[:-1]:
        if open_model(folder, _CPU)[1].fingerprint != tokenizer.fingerprint:
            raise CheckpointError(
                Text(f"{folder} and {found[-1]} have different tokenizers.", f"{folder} 与 {found[-1]} 的分词器不同。"),
                Text("Average models of one tokenizer.", "请对使用同一分词器的模型求平均。"),
            )  # fmt: skip
    weights = mean_weights(open_model(folder, _CPU)[0] for folder in found)
    model.load_state_dict(weights, strict=False)  # what is no parameter follows from the settings
    report = {"average_of": [str(source) for source in sources]}
    save_model(target, model, tokenizer, defaults, {}, report, family)
    return report
