"""`hanlin pretrain`: corpus + tokenizer -> token store -> a run folder with its model."""

import shutil
from pathlib import Path
from typing import Any

import torch

from hanlin.base.device import Compute, choose_compute, measure_peak_flops
from hanlin.base.errors import ConfigError
from hanlin.base.files import write_text
from hanlin.base.interrupt import Interrupted
from hanlin.base.language import Text
from hanlin.base.lock import locked
from hanlin.base.manifest import NAME, Manifest, read_manifest
from hanlin.base.memory import memory_errors
from hanlin.base.progress import console
from hanlin.base.seeds import seed_everything
from hanlin.base.sinks import ConsoleSink, JsonlSink, MetricSink, TensorBoardSink
from hanlin.batches.store import TokenStore, build_store
from hanlin.checkpoint.folder import open_model, save_model
from hanlin.checkpoint.resume import (
    KIND,
    checkpoint_folder,
    keep_checkpoints,
    last_checkpoint,
    load_train_state,
    save_checkpoint,
)
from hanlin.model.assemble import Model, build_model
from hanlin.model.config import CoreConfig
from hanlin.model.count import training_flops_per_token
from hanlin.objective.mixture import Mixture
from hanlin.stages.checks import check_trainable
from hanlin.stages.current import current_manifest, differences, required_manifest
from hanlin.stages.objectives import build_mixture, objective_configs
from hanlin.stages.recipe import Recipe
from hanlin.tokenizer.tokenizer import Tokenizer
from hanlin.trainer.config import PretrainConfig
from hanlin.trainer.loop import Ending, train
from hanlin.trainer.optimizer import build_optimizers
from hanlin.trainer.state import TrainState

RUN = "pretrain run"


def run_tokens(recipe: Recipe) -> TokenStore:
    """Encode the corpus unless the token store is current."""
    places = recipe.places
    required_manifest(places.tokenizer, "tokenizer", "tokenizer")
    tokenizer = Tokenizer.load(places.tokenizer)
    store_config = {"begin_id": tokenizer.eos_id, "vocab_size": tokenizer.vocab_size}
    inputs = {
        "corpus": required_manifest(places.corpus, "corpus", "corpus").fingerprint,
        "tokenizer": tokenizer.fingerprint,
    }
    if current_manifest(places.tokens, "token store", store_config, inputs) is None:
        with locked(recipe.folder):
            build_store(places.corpus, tokenizer, places.tokens)
    return TokenStore(places.tokens)


def run_pretrain(recipe: Recipe, fresh: bool = False) -> Manifest:
    """Train, or go on where an earlier run of the same recipe stopped; `fresh` throws that one away.

    Raises `Interrupted` after Ctrl-C (state saved), `ConfigError` if the folder holds another run.
    """
    check_trainable(recipe)
    store = run_tokens(recipe)
    done = None if fresh else current_pretrain(recipe)
    if done is not None:
        return done
    with locked(recipe.folder):
        return _Run(recipe, store).train(fresh)


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
    config = {"model": model_config(recipe, store).model_dump(), "pretrain": recipe.dump("pretrain")}
    return config, {"tokens": store.fingerprint}


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

    def __init__(self, recipe: Recipe, store: TokenStore) -> None:
        self.recipe, self.store, self.config = recipe, store, recipe.pretrain
        self.folder: Path = recipe.places.pretrain
        self.identity, self.inputs = run_identity(recipe, store)
        self.tokenizer = Tokenizer.load(recipe.places.tokenizer)
        self.compute: Compute = choose_compute(self.config.device, self.config.precision)

    def train(self, fresh: bool) -> Manifest:
        """Train to the end and write the model; see `run_pretrain`. Nothing is deleted for a run that cannot begin."""
        mixture = build_mixture(self.recipe, self.store)
        if fresh:
            shutil.rmtree(self.folder, ignore_errors=True)
        state = self._state(mixture)
        with memory_errors():
            ending = self._loop(state, mixture)
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
        return self._finish(state, ending)

    def _state(self, mixture: Mixture) -> TrainState:
        """A new state, or that of the last checkpoint."""
        checkpoint = last_checkpoint(self.folder)
        if checkpoint is None:
            seed_everything(self.config.seed)
            model = build_model(CoreConfig.model_validate(self.identity["model"])).to(self.compute.device)
            return TrainState(model, build_optimizers(model, self.config), taken=mixture.start())
        self._check_same_run(checkpoint)
        model, _, _ = open_model(checkpoint, self.compute)
        state = TrainState(model, build_optimizers(model, self.config))
        state.restore(*load_train_state(checkpoint))
        console.print(str(Text(f"Going on from step {state.step}.", f"从第 {state.step} 步继续。")))
        return state

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

    def _loop(self, state: TrainState, mixture: Mixture) -> Ending:
        core = CoreConfig.model_validate(self.identity["model"])
        flops = training_flops_per_token(core, core.window)
        peak_rate = measure_peak_flops(self.compute) / flops
        sinks: list[MetricSink] = [JsonlSink(self.folder / "metrics.jsonl", state.step)]
        if not console.is_terminal:
            sinks.append(ConsoleSink())
        if self.config.tensorboard:
            sinks.append(TensorBoardSink(self.folder / "tensorboard", state.step))
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

    def _save(self, state: TrainState) -> None:
        assert isinstance(state.model, Model)
        save_checkpoint(
            checkpoint_folder(self.folder, state.step),
            state.model,
            self.tokenizer,
            state.tensors(),
            state.values(),
            self.identity,
            self.inputs,
        )
        keep_checkpoints(self.folder, {state.step, state.best_step})

    def _finish(self, state: TrainState, ending: Ending) -> Manifest:
        """Write the best model and the run's manifest."""
        best = checkpoint_folder(self.folder, state.best_step)
        model, _, _ = open_model(best, Compute(torch.device("cpu"), torch.float32))
        report = {
            "ending": ending,
            "steps": state.step,
            "tokens": state.tokens,
            "best_step": state.best_step,
            "best_valid_loss": state.best_loss,
            "skipped_steps": state.skipped,
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
        write_text(self.folder / NAME, manifest.model_dump_json(indent=1) + "\n")
        return manifest


def _as_today(config: dict[str, Any]) -> dict[str, Any]:
    """A run's configuration with the settings that have come since: each as it was when there was no choice.

    What a model was then decides some of them (`bias` became four settings), so the model's are read, not merged.
    """
    return {
        **config,
        "model": CoreConfig.model_validate(config["model"]).model_dump(mode="json"),
        "pretrain": {**PretrainConfig().model_dump(mode="json"), **config["pretrain"]},
    }
