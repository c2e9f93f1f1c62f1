"""One body with several heads: what is learned for one task serves the others.

Source: hard parameter sharing, Caruana 1997, "Multitask Learning", Machine Learning 28.
"""

from collections.abc import Mapping

from torch import nn

from hanlin.base.errors import ConfigError
from hanlin.base.language import Text
from hanlin.model.headed import Headed

_OF_HEADS = {"head", "labels", "label_names", "multi_label", "crf", "pooling", "pooler", "tied", "head_bias", "head_scale"}  # fmt: skip
"""The settings in which tasks may differ."""


class MultiTask(nn.Module):
    """Models by task that share embedding, blocks and final norm, those of the first; each is a whole model to save."""

    def __init__(self, tasks: Mapping[str, Headed]) -> None:
        super().__init__()
        first, *others = tasks.values()
        for name, model in tasks.items():
            _require_same_body(first, model, name)
        for model in others:
            model.embed, model.blocks, model.norm = first.embed, first.blocks, first.norm
            model.rotary, model.rotary_local, model.bias = first.rotary, first.rotary_local, first.bias
            model.tie()
        self.tasks = nn.ModuleDict(tasks)


def _require_same_body(first: Headed, other: Headed, name: str) -> None:
    ours, theirs = (model.config.model_dump(exclude=_OF_HEADS) for model in (first, other))
    different = [key for key in ours if ours[key] != theirs[key]]
    if different:
        raise ConfigError(
            Text(f"The task {name} cannot share a body: its model differs in {', '.join(different)}.",
                 f"任务 {name} 无法共享主体：其模型的 {'、'.join(different)} 不同。"),
            Text("Give all tasks the same model but for the head.", "请让各任务的模型除 head 外完全相同。"),
        )  # fmt: skip
