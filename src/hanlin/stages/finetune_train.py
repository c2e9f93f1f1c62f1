"""The training of a fine-tuning: the one loop, on a model with its heads or its adapter, saved as it goes."""

import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
from pydantic import TypeAdapter, ValidationError
from torch import nn

from hanlin.base.device import Compute, measure_peak_flops
from hanlin.base.errors import ConfigError
from hanlin.base.interrupt import Interrupted
from hanlin.base.language import Text
from hanlin.base.manifest import NAME, read_manifest
from hanlin.base.memory import memory_errors
from hanlin.base.progress import console
from hanlin.base.seeds import seed_everything
from hanlin.base.sinks import ConsoleSink, JsonlSink, MetricSink, TensorBoardSink
from hanlin.batches.loader import Examples, Loader
from hanlin.checkpoint.resume import KIND, checkpoint_folder, keep_checkpoints, last_checkpoint
from hanlin.checkpoint.trained import load_trained, load_trained_state, save_trained
from hanlin.model.count import training_flops_per_token
from hanlin.model.multitask import MultiTask
from hanlin.objective.mixture import Mixture, Part
from hanlin.objective.task import ForTask
from hanlin.stages.current import differences
from hanlin.stages.finetune_data import Learned
from hanlin.stages.finetune_recipe import FinetuneRecipe
from hanlin.tasks.begin import open_for
from hanlin.tasks.opened import Opened
from hanlin.trainer.compilation import is_compiled
from hanlin.trainer.config import TrainingConfig
from hanlin.trainer.learner import Learner
from hanlin.trainer.loop import train
from hanlin.trainer.optimizer import build_optimizers
from hanlin.trainer.state import TrainState


@dataclass(frozen=True)
class Prepared:
    """A model for each task, which share a body if there are several; what trains; the names of new parameters; rows."""

    opened: dict[str, Opened]
    model: nn.Module
    new: list[str]
    train: dict[str, Examples]
    valid: dict[str, Examples]


@dataclass(frozen=True)
class Trained:
    """How it ended: steps, the best one and its metric; rows and seconds of training in this process."""

    ending: str
    steps: int
    best_step: int
    metric: str
    best_value: float | None
    rows: int
    seconds: float

    def report(self) -> dict[str, Any]:
        """What does not hang on the machine."""
        return {
            "ending": self.ending,
            "steps": self.steps,
            "best_step": self.best_step,
            f"best_{self.metric}": self.best_value,
        }


def prepare(recipe: FinetuneRecipe, learned: list[Learned], compute: Compute) -> Prepared:
    """Open the model, give it its heads or its adapter, and lay the records out as rows."""
    seed_everything(recipe.training.seed)
    first, *others = learned
    one, new = open_for(recipe.model, first.task, compute, recipe.lora, recipe.prompt)
    opened = {first.name: one}
    for other in others:
        beside, more = open_for(recipe.model, other.task, compute, recipe.lora, recipe.prompt)
        opened[other.name] = beside
        new = [*new, *(f"{other.name}.{name}" for name in more)]
    model = MultiTask({name: one.headed for name, one in opened.items()}) if others else one.model
    model.eval()
    rows: dict[str, dict[str, Examples]] = {
        side: {
            part.name: part.task.examples(
                opened[part.name], part.sides[side].records, part.sides[side].places
            )
            for part in learned
        }
        for side in ("train", "valid")
    }
    return Prepared(opened, model, new, rows["train"], rows["valid"])


def settled(recipe: FinetuneRecipe, learned: list[Learned], rows: int) -> TrainingConfig:
    """The settings of training for so many rows: steps for epochs, and a look at the validation records once an epoch.

    Warm-up takes 6 % of the steps (arXiv 1907.11692, table 10) unless the recipe says otherwise.
    """
    config, given = recipe.training, recipe.training.model_fields_set
    changed: dict[str, Any] = {}
    whole = (config if "warmup" in given else config.model_copy(update={"warmup": 0})).for_rows(rows)
    each = max(1, min(whole.steps, -(-rows // whole.batch_rows)))
    for name in ("evaluate_every", "save_every"):
        if name not in given:
            changed[name] = each
    if "validation_rows" not in given:
        changed["validation_rows"] = max(len(part.sides["valid"]) for part in learned)
    if "metric" not in given and len(learned) == 1:
        metric, better = learned[0].task.chosen_by
        changed |= {"metric": metric, "better": better}
    if "warmup" not in given:
        changed["warmup"] = int(0.06 * whole.steps)
    return whole.model_copy(update=changed)


class Training:
    """One training in its folder; a stopped one goes on where it was."""

    def __init__(
        self,
        folder: Path,
        prepared: Prepared,
        learned: list[Learned],
        config: TrainingConfig,
        compute: Compute,
        identity: dict[str, Any],
        inputs: dict[str, str],
    ) -> None:
        self.folder, self.prepared, self.config, self.compute = folder, prepared, config, compute
        self.identity, self.inputs = identity, inputs
        several = len(learned) > 1
        self.mixture = Mixture([self._part(part, several) for part in learned])

    def run(self, fresh: bool = False) -> Trained:
        """Train to the end; afterwards the model has the weights of the best step, and is in evaluation mode.

        Raises `Interrupted` after Ctrl-C (state saved), `ConfigError` if the folder holds another run.
        """
        if fresh:
            shutil.rmtree(self.folder / "checkpoints", ignore_errors=True)
        with memory_errors():
            state = self._state()
            start, taken = time.perf_counter(), sum(state.taken)
            ending = self._loop(state)
        if ending == "interrupted":
            console.print(
                str(
                    Text(f"Stopped at step {state.step} of {self.config.steps}; saved. The same command goes on from there.",
                         f"已停在第 {state.step} 步（共 {self.config.steps} 步），状态已保存。再次运行同一命令即可继续。")
                )
            )  # fmt: skip
            raise Interrupted
        load_trained(checkpoint_folder(self.folder, state.best_step), self.prepared.model)
        self.prepared.model.eval()
        rows, seconds = sum(state.taken) - taken, time.perf_counter() - start
        return Trained(
            ending, state.step, state.best_step, self.config.metric, state.best_value, rows, seconds
        )

    def _part(self, learned: Learned, several: bool) -> Part:
        objective = learned.task.objective(learned.sides["train"].records)
        rows, seed = self.config.batch_rows, self.config.seed
        train_rows, valid_rows = self.prepared.train[learned.name], self.prepared.valid[learned.name]
        return Part(
            learned.name,
            ForTask(learned.name, objective) if several else objective,
            Loader(train_rows, rows=rows, seed=seed, sizes=getattr(train_rows, "sizes", None)),
            Loader(valid_rows, rows=rows, seed=seed),
            learned.weight,
        )

    def _state(self) -> TrainState:
        model, checkpoint = self.prepared.model.to(self.compute.device), last_checkpoint(self.folder)
        if checkpoint is not None:
            check_same_run(checkpoint, KIND, self.identity, self.inputs)
            load_trained(checkpoint, model)
        learner = Learner(model, compiled=is_compiled(self.config, self.compute, self._flops))
        state = TrainState(
            model, build_optimizers(model, self.config), taken=self.mixture.start(), learner=learner
        )
        if checkpoint is not None:
            state.restore(*load_trained_state(checkpoint))
            console.print(str(Text(f"Going on from step {state.step}.", f"从第 {state.step} 步继续。")))
        return state

    @property
    def _flops(self) -> int:
        """Floating-point operations of the whole run, by the mean length of a record."""
        core = next(iter(self.prepared.opened.values())).model.config
        tokens = sum(_tokens(rows) / max(1, len(rows)) for rows in self.prepared.train.values())
        return int(
            self.config.steps * self.config.batch_rows * tokens * training_flops_per_token(core, core.window)
        )

    def _loop(self, state: TrainState) -> str:
        core = next(iter(self.prepared.opened.values())).model.config
        peak_rate = measure_peak_flops(self.compute) / training_flops_per_token(core, core.window)
        sinks: list[MetricSink] = [JsonlSink(self.folder / "metrics.jsonl", state.step)]
        if not console.is_terminal:
            sinks.append(ConsoleSink())
        if self.config.tensorboard:
            sinks.append(TensorBoardSink(self.folder / "tensorboard", state.step))
        try:
            return train(
                state,
                self.mixture,
                self.config,
                self.compute,
                save=self._save,
                sinks=sinks,
                peak_rate=peak_rate,
                title=str(Text("fine-tune", "微调")),
            )
        finally:
            for sink in sinks:
                sink.close()

    def _save(self, state: TrainState) -> None:
        folder = checkpoint_folder(self.folder, state.step)
        save_trained(folder, state.model, state.tensors(), state.values(), self.identity, self.inputs)
        keep_checkpoints(self.folder, {state.step, *(best.step for best in state.best)})


def check_same_run(folder: Path, kind: str, identity: dict[str, Any], inputs: dict[str, str]) -> None:
    """Raise `ConfigError` if `folder` has a manifest of another run: of other settings, but for what is examined, or files."""
    if not (folder / NAME).is_file():
        return
    found = read_manifest(folder, kind)
    config = {key: value for key, value in _as_today(found.config).items() if key != "examine"}
    changed = differences({**config, "inputs": found.inputs}, {**identity, "inputs": inputs})
    if changed:
        lines = "\n  ".join(changed)
        raise ConfigError(
            Text(f"{folder} is of another run:\n  {lines}", f"{folder} 属于另一次训练：\n  {lines}"),
            Text("Restore those settings to go on with it, set another folder=..., or throw it away: --fresh",
                 "请恢复上述设置以继续该训练，或另设 folder=……，或用 --fresh 丢弃它。"),
        )  # fmt: skip


def _as_today(config: dict[str, Any]) -> dict[str, Any]:
    """A run's configuration with the settings that have come since, each at its default."""
    kept = dict(config["recipe"])
    for name in kept.keys() & {"task", "tasks", "data"}:
        with suppress(ValidationError):  # what has become another setting is a difference
            adapter: TypeAdapter[Any] = TypeAdapter(get_type_hints(FinetuneRecipe)[name])
            kept[name] = adapter.dump_python(adapter.validate_python(kept[name]), mode="json")
    return {**config, "recipe": kept}


def _tokens(rows: Examples) -> int:
    sizes = getattr(rows, "sizes", None)
    return int(np.sum(sizes)) if sizes is not None else len(rows)
