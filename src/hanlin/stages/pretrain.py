"""`hanlin pretrain`: corpus + tokenizer -> token store -> a run folder with its model."""

import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from hanlin.base.device import Compute, choose_compute, measure_peak_flops
from hanlin.base.distributed import from_first, part_ways, rank, ranks
from hanlin.base.errors import ConfigError
from hanlin.base.files import write_text
from hanlin.base.interrupt import Interrupted
from hanlin.base.language import Text, speaks_chinese
from hanlin.base.lock import locked
from hanlin.base.manifest import NAME, Manifest, read_manifest
from hanlin.base.memory import memory_errors
from hanlin.base.progress import console
from hanlin.base.seeds import seed_everything
from hanlin.base.sinks import ConsoleSink, JsonlSink, MetricSink, TensorBoardSink, read_metrics
from hanlin.batches.store import TokenStore, build_store, store_config
from hanlin.checkpoint.folder import open_model, save_model
from hanlin.checkpoint.resume import (
    KIND,
    Checkpoint,
    checkpoint_folder,
    checkpoint_steps,
    keep_checkpoints,
    last_checkpoint,
    load_train_state,
    save_checkpoint,
)
from hanlin.evaluate.pretrain_page import write_pretrain_page
from hanlin.model.assemble import Model, build_model
from hanlin.model.config import CoreConfig
from hanlin.model.count import training_flops_per_token
from hanlin.objective.mixture import Mixture
from hanlin.stages.averaging import write_average
from hanlin.stages.checks import check_trainable
from hanlin.stages.current import current_manifest, differences, required_manifest
from hanlin.stages.doctor import machine_line
from hanlin.stages.objectives import build_mixture, epoch_rows, needs_sentences, objective_configs
from hanlin.stages.recipe import Recipe
from hanlin.stages.samples import SampleSink
from hanlin.tokenizer.tokenizer import Tokenizer
from hanlin.trainer.compilation import is_compiled
from hanlin.trainer.config import PretrainConfig
from hanlin.trainer.gradients import gradient_report
from hanlin.trainer.learner import Learner
from hanlin.trainer.loop import Ending, train
from hanlin.trainer.optimizer import build_optimizers
from hanlin.trainer.parallel import distribute
from hanlin.trainer.state import TrainState

if TYPE_CHECKING:
    from hanlin.checkpoint.sharded import BackgroundWriter

RUN = "pretrain run"


def run_tokens(recipe: Recipe) -> TokenStore:
    """Encode the corpus unless the token store is current."""
    places = recipe.places
    required_manifest(places.tokenizer, "tokenizer", "tokenizer")
    tokenizer = Tokenizer.load(places.tokenizer)
    sentences = needs_sentences(recipe)
    inputs = {
        "corpus": required_manifest(places.corpus, "corpus", "corpus").fingerprint,
        "tokenizer": tokenizer.fingerprint,
    }
    if current_manifest(places.tokens, "token store", store_config(tokenizer, sentences), inputs) is None:
        with locked(recipe.folder):
            build_store(places.corpus, tokenizer, places.tokens, sentences)
    return TokenStore(places.tokens)


def run_pretrain(recipe: Recipe, fresh: bool = False, sinks: Sequence[MetricSink] = ()) -> Manifest:
    """Train, or go on where an earlier run of the same recipe stopped; `fresh` throws that one away.

    sinks: more of those that take the metrics; what one raises ends the run where it is.
    Of several processes each calls this, within `base.distributed.joined`.
    Raises `Interrupted` after Ctrl-C (state saved), `ConfigError` if the folder holds another run.
    """
    check_trainable(recipe)
    from_first(lambda: run_tokens(recipe).fingerprint)
    store = TokenStore(recipe.places.tokens)
    done = from_first(lambda: None if fresh else current_pretrain(recipe))
    if done is not None:
        return done
    with locked(recipe.folder) if rank() == 0 else nullcontext():
        return _Run(recipe, store, sinks).train(fresh)


def current_pretrain(recipe: Recipe) -> Manifest | None:
    """The manifest of a finished run of this recipe on these tokens."""
    places = recipe.places
    corpus = required_manifest(places.corpus, "corpus", "corpus").fingerprint
    store = TokenStore(places.tokens)
    if not (places.pretrain / NAME).exists() or store.manifest.inputs["corpus"] != corpus:
        return None
    config, inputs = run_identity(recipe, store)
    config["generation"] = recipe.dump("generation")
    return current_manifest(places.pretrain, RUN, config, inputs, _as_today)


def run_identity(recipe: Recipe, store: TokenStore) -> tuple[dict[str, Any], dict[str, str]]:
    """The configuration and inputs that make one run."""
    config = {"model": model_config(recipe, store).model_dump(), "pretrain": _settings(recipe.pretrain)}
    return config, {"tokens": store.fingerprint}


def _settings(config: PretrainConfig) -> dict[str, Any]:
    """All settings of training but how it is spread over processes, which changes nothing in what is learned."""
    return config.model_dump(mode="json", exclude={"distribution", "samples", "sample_every"})


def model_config(recipe: Recipe, store: TokenStore) -> CoreConfig:
    """The recipe's model with the vocabulary of the store; `ConfigError` if the recipe asks for fewer rows."""
    wanted = recipe.model.vocab_size or store.vocab_size
    if wanted < store.vocab_size:
        raise ConfigError(
            Text(
                f"model.vocab_size is {wanted}, but the tokenizer has {store.vocab_size} tokens.",
                f"model.vocab_size 为 {wanted}，而分词器有 {store.vocab_size} 个词元。",
            ),
            Text("Leave model.vocab_size out.", "请去掉 model.vocab_size。"),
        )
    return recipe.model.model_copy(update={"vocab_size": wanted})


class _Run:
    """One training run in its folder."""

    def __init__(self, recipe: Recipe, store: TokenStore, sinks: Sequence[MetricSink]) -> None:
        self.recipe, self.store, self.config = recipe, store, recipe.pretrain
        self.folder: Path = recipe.places.pretrain
        self.identity, self.inputs = run_identity(recipe, store)
        self.tokenizer = Tokenizer.load(recipe.places.tokenizer)
        self.compute: Compute = choose_compute(self.config.device, self.config.precision)
        self.writer = _writer()
        self.more_sinks = sinks

    def train(self, fresh: bool) -> Manifest:
        """Train to the end and write the model; see `run_pretrain`. Nothing is deleted for a run that cannot begin."""
        mixture = build_mixture(self.recipe, self.store, rank=rank(), ranks=ranks())
        self.config = self.config.for_rows(epoch_rows(mixture))
        if fresh:
            from_first(lambda: shutil.rmtree(self.folder, ignore_errors=True))
        with memory_errors():
            state = self._state(mixture)
            ending = self._loop(state, mixture)
        if self.writer is not None:
            self.writer.wait()
        if ending == "interrupted":
            console.print(
                str(
                    Text(
                        f"Stopped at step {state.step} of {self.config.steps}; saved. The same command goes on from there.",
                        f"已停在第 {state.step} 步（共 {self.config.steps} 步），状态已保存。再次运行同一命令即可继续。",
                    )
                )
            )
            raise Interrupted
        averaged = self._average(state, mixture)
        return from_first(lambda: self._finish(state, ending, averaged))

    def _state(self, mixture: Mixture) -> TrainState:
        """A new state, or that of the last checkpoint."""
        checkpoint = from_first(lambda: last_checkpoint(self.folder))
        if checkpoint is None:
            seed_everything(self.config.seed)
            model = build_model(CoreConfig.model_validate(self.identity["model"]))
            part_ways()
            return self._distributed(model, mixture)
        self._check_same_run(checkpoint)
        model, _, _ = open_model(checkpoint, replace(self.compute, device=torch.device("cpu")))
        state = self._distributed(model, mixture)
        state.restore(*load_train_state(checkpoint, model))
        console.print(str(Text(f"Going on from step {state.step}.", f"从第 {state.step} 步继续。")))
        return state

    def _distributed(self, model: Model, mixture: Mixture) -> TrainState:
        """A new state of `model`, which comes from the memory of the CPU and then lies where it is trained."""
        learner = Learner(model, compiled=is_compiled(self.config, self.compute, self._flops))
        distribute(learner, self.config.distribution, self.compute)
        model.to(self.compute.device)
        optimizers = build_optimizers(model, self.config)
        return TrainState(model, optimizers, taken=mixture.start(), learner=learner)

    def _check_same_run(self, checkpoint: Path) -> None:
        found = read_manifest(checkpoint, KIND)
        changed = differences(
            {**_as_today(found.config), "inputs": found.inputs}, {**self.identity, "inputs": self.inputs}
        )
        if changed:
            lines = "\n  ".join(changed)
            raise ConfigError(
                Text(
                    f"{self.folder} holds checkpoints of another run:\n  {lines}",
                    f"{self.folder} 中是另一次训练的检查点：\n  {lines}",
                ),
                Text(
                    "Restore those settings to go on with it, set another folder=..., or delete it: "
                    "hanlin pretrain RECIPE --fresh",
                    "请恢复上述设置以继续该训练，或另设 folder=……，或删除它：hanlin pretrain 配方 --fresh",
                ),
            )

    @property
    def _flops(self) -> int:
        """Floating-point operations of the whole run."""
        core = CoreConfig.model_validate(self.identity["model"])
        tokens = self.config.steps * self.config.batch_rows * core.window
        return tokens * training_flops_per_token(core, core.window)

    def _loop(self, state: TrainState, mixture: Mixture) -> Ending:
        core = CoreConfig.model_validate(self.identity["model"])
        flops = training_flops_per_token(core, core.window)
        peak_rate = ranks() * measure_peak_flops(self.compute) / flops
        sinks = self._sinks(state) if rank() == 0 else []
        try:
            return train(
                state,
                mixture,
                self.config,
                self.compute,
                save=self._save,
                sinks=sinks,
                peak_rate=peak_rate,
            )
        finally:
            for sink in sinks:
                sink.close()

    def _sinks(self, state: TrainState) -> list[MetricSink]:
        sinks: list[MetricSink] = [JsonlSink(self.folder / "metrics.jsonl", state.step)]
        if not console.is_terminal:
            sinks.append(ConsoleSink())
        boards = [TensorBoardSink(self.folder / "tensorboard", state.step)] if self.config.tensorboard else []
        if self.config.samples:
            sinks.append(
                SampleSink(state, self.tokenizer, self.recipe.pretrain, self.compute, self.folder, boards)
            )
        return [*sinks, *boards, *self.more_sinks]

    def _save(self, state: TrainState) -> None:
        assert isinstance(state.model, Model)
        folder, best = checkpoint_folder(self.folder, state.step), {best.step for best in state.best}
        checkpoint = Checkpoint(
            state.model, self.tokenizer, state.tensors(), state.values(), self.identity, self.inputs
        )
        if self.writer is None:
            save_checkpoint(folder, checkpoint)
            self._tidy(best)
        else:
            self.writer.save(folder, checkpoint, partial(self._tidy, best))

    def _tidy(self, best: set[int]) -> None:
        """Keep the best checkpoints and the last, and as many last ones as are to be averaged."""
        average = self.config.average
        averaged = self._last(average.checkpoints) if average and average.of == "last" else []
        keep_checkpoints(self.folder, {*best, *averaged, *checkpoint_steps(self.folder)[-1:]})

    def _last(self, count: int) -> list[int]:
        """The last steps that have checkpoints but for those of interruptions, of which the average knows nothing."""
        config = self.config
        steps = [
            step
            for step in checkpoint_steps(self.folder)
            if not (step % config.save_every and step % config.evaluate_every) or step == config.steps
        ]
        return steps[-count:]

    def _average(self, state: TrainState, mixture: Mixture) -> dict[str, Any]:
        """Write the mean of the best or the last checkpoints to `average/`; what the report says of it."""
        average = self.config.average
        if average is None:
            return {}
        steps = [best.step for best in state.best]
        if average.of == "last":
            steps = from_first(lambda: self._last(average.checkpoints))
        folders = [checkpoint_folder(self.folder, step) for step in steps]
        target, generation = self.folder / "average", self.recipe.generation
        return write_average(target, folders, mixture, self.config, self.compute, generation)

    def _finish(self, state: TrainState, ending: Ending, averaged: dict[str, Any]) -> Manifest:
        """Write the best model and the run's manifest."""
        best = checkpoint_folder(self.folder, state.best_step)
        model, _, _ = open_model(best, Compute(torch.device("cpu"), torch.float32))
        report = {
            "ending": ending,
            "steps": state.step,
            "tokens": state.tokens,
            "best_step": state.best_step,
            f"best_{self.config.metric}": state.best_value,
            **averaged,
            "batch": self.recipe.pretrain.batch_kind,
            "skipped_steps": state.skipped,
            **state.health.report(),
            **gradient_report(read_metrics(self.folder / "metrics.jsonl")),
            "objective": [config.kind for config in objective_configs(self.recipe)],
        }
        lineage = {**self.inputs, "checkpoint": read_manifest(best, KIND).fingerprint}
        save_model(self.recipe.places.model, model, self.tokenizer, self.recipe.generation, lineage, report)
        return self._write_run_manifest(report)

    def _write_run_manifest(self, report: dict[str, Any]) -> Manifest:
        model = read_manifest(self.recipe.places.model, "model")
        manifest = Manifest(
            kind=RUN,
            config={**self.identity, "generation": self.recipe.dump("generation")},
            inputs=self.inputs,
            files={f"model/{name}": digest for name, digest in model.files.items()},
            report=report,
        )
        write_pretrain_page(
            self.folder / "report.html",
            read_metrics(self.folder / "metrics.jsonl"),
            report,
            self.recipe.folder.name,
            machine_line(),
            "zh" if speaks_chinese() else "en",
        )
        write_text(self.folder / NAME, manifest.model_dump_json(indent=1) + "\n")
        return manifest


def _writer() -> "BackgroundWriter | None":
    """What several processes save with."""
    if ranks() == 1:
        return None
    from hanlin.checkpoint.sharded import BackgroundWriter

    return BackgroundWriter()


def _as_today(config: dict[str, Any]) -> dict[str, Any]:
    """A run's configuration with the settings that have come since: each as it was when there was no choice.

    What a model was then decides some of them (`bias` became four settings), so the model's are read, not merged.
    """
    return {
        **config,
        "model": CoreConfig.model_validate(config["model"]).model_dump(mode="json"),
        "pretrain": {**_settings(PretrainConfig()), **config["pretrain"]},
    }
