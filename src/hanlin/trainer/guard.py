"""What is done about a run that goes wrong: spikes, divergence, learning by heart."""

import difflib
from collections.abc import Callable

from hanlin.base.errors import ConfigError, TrainingError
from hanlin.base.language import Text
from hanlin.base.progress import console
from hanlin.trainer.config import TrainingConfig
from hanlin.trainer.health import Losses
from hanlin.trainer.state import TrainState


def spike_guard(state: TrainState, part: str, config: TrainingConfig) -> Callable[[float], bool]:
    """For `training_step`: from the loss of the step whether its update is to be left out.

    Spikes are counted and told; raises `TrainingError` for one with `on_spike: stop`, before any weight changes.
    """

    def refuse(loss: float) -> bool:
        losses = state.health.of(part)
        deviations = losses.deviations(loss)
        if deviations <= config.spike_deviations:
            return False
        state.health.spikes += 1
        words = Text(
            f"Loss spike at step {state.step + 1}: {loss:.4g}, where {losses.middle:.4g} was usual "
            f"({deviations:.0f} robust deviations).",
            f"第 {state.step + 1} 步出现损失尖峰：{loss:.4g}，而通常为 {losses.middle:.4g}（高出 {deviations:.0f} 个稳健标准差）。",
        )
        if config.on_spike == "stop":
            raise TrainingError(words, _remedy("on_spike=skip"))
        console.print(str(words), markup=False)
        return config.on_spike == "skip"

    return refuse


def check_divergence(state: TrainState, losses: Losses, config: TrainingConfig) -> None:
    """Raise `TrainingError` if the losses have been far above where they were for long, or say so once."""
    if not losses.diverged(config.spike_window):
        return
    steps = config.spike_window // 2
    if losses.finite:
        before = min(losses.first, losses.lowest or losses.first)
        what = Text(
            f"for {steps} steps the loss has been about {losses.middle:.4g}, far above {before:.4g}, where it was",
            f"损失已连续 {steps} 步在 {losses.middle:.4g} 左右，远高于此前的 {before:.4g}",
        )
    else:
        what = Text(f"for {steps} steps no loss has been as it should, the last not finite",
                    f"已连续 {steps} 步损失异常，最后一步不是有限值")  # fmt: skip
    words = Text(
        f"The run diverges at step {state.step}: {what.en}.", f"训练在第 {state.step} 步发散：{what.zh}。"
    )
    if config.on_divergence == "stop":
        raise TrainingError(words, _remedy("on_divergence=warn"))
    if losses.astray_steps == steps:
        console.print(str(words), markup=False)


def watch_gap(state: TrainState, valid_loss: float) -> None:
    """Say when the model begins to learn by heart."""
    if state.health.gap.look(valid_loss) and state.health.gap.alarms == 1:
        words = Text(
            f"Over-fitting since before step {state.step}: the training loss falls while the validation loss rises.",
            f"第 {state.step} 步之前已开始过拟合：训练损失下降而验证损失上升。",
        )
        console.print(str(words), markup=False)


def chosen_metric(metrics: dict[str, float], config: TrainingConfig) -> float:
    """The metric by which checkpoints are chosen; `ConfigError` naming those there are if it is none of them."""
    if config.metric in metrics:
        return metrics[config.metric]
    near = difflib.get_close_matches(config.metric, metrics, n=3) or sorted(metrics)
    raise ConfigError(
        Text(f"metric: nothing called {config.metric!r} is logged.", f"metric：没有名为 {config.metric!r} 的指标。"),
        Text(f"Near names: {', '.join(near)}.", f"相近的名称：{'、'.join(near)}。"),
    )  # fmt: skip


def _remedy(setting: str) -> Text:
    return Text(
        f"Lower learning_rate and muon_learning_rate, lengthen warmup, or set pretrain.{setting}, and train anew in "
        "another folder=... or with `hanlin pretrain RECIPE --fresh`. The checkpoints from before are kept.",
        f"请降低 learning_rate 与 muon_learning_rate、延长 warmup，或设 pretrain.{setting}，然后另设 folder=……，"
        "或用 `hanlin pretrain 配方 --fresh` 重新训练。此前的检查点都还在。",
    )
