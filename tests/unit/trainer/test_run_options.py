"""The loop with the options of `TrainingConfig`: what resumes exactly, what is validated and saved, what stops a run."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from hanlin.base.device import Compute
from hanlin.base.errors import ConfigError, TrainingError
from hanlin.batches.loader import Loader
from hanlin.batches.pack import PackedRows
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from hanlin.objective.causal import Causal
from hanlin.objective.mixture import Mixture, Part
from hanlin.trainer.config import TrainingConfig
from hanlin.trainer.learner import Learner
from hanlin.trainer.loop import train
from hanlin.trainer.optimizer import build_optimizers
from hanlin.trainer.state import TrainState
from hanlin.trainer.validate import validate

CPU = Compute(torch.device("cpu"), torch.float32)
TOKENS = np.random.default_rng(0).choice([1, 2, 3, 5, 8], 3000).astype(np.uint16)


def config(**settings: object) -> TrainingConfig:
    defaults = {
        "steps": 12,
        "warmup": 2,
        "batch_rows": 4,
        "evaluate_every": 4,
        "save_every": 4,
        "log_every": 2,
    }
    return TrainingConfig.model_validate({**defaults, **settings})


def mixture(settings: TrainingConfig, tokens: np.ndarray = TOKENS) -> Mixture:
    rows = Loader(PackedRows(tokens, 16, 0), rows=settings.batch_rows)
    return Mixture([Part("causal", Causal(), rows, Loader(PackedRows(TOKENS[:200], 16, 0), rows=4))])


def model(seed: int = 0) -> Decoder:
    torch.manual_seed(seed)
    return Decoder(CoreConfig(vocab_size=16, width=16, layers=2, heads=2, window=16, dropout=0.1))


class Lines:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.rows: dict[int, dict[str, Any]] = {}

    def write(self, step: int, metrics: Any) -> None:
        self.rows[step] = dict(metrics)

    def close(self) -> None:
        pass


def run(
    state: TrainState,
    settings: TrainingConfig,
    save: Callable[[TrainState], None] = lambda state: None,
    tokens: np.ndarray = TOKENS,
    compute: Compute = CPU,
) -> Lines:
    lines = Lines()
    train(state, mixture(settings, tokens), settings, compute, save=save, sinks=[lines], peak_rate=1e5)
    return lines


def begin(settings: TrainingConfig, seed: int = 0) -> TrainState:
    network = model(seed)
    return TrainState(network, build_optimizers(network, settings))


def weights(state: TrainState) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in state.model.named_parameters()}


Saved = tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], str]


def saver(into: dict[int, Saved]) -> Callable[[TrainState], None]:
    def save(state: TrainState) -> None:
        tensors = {name: value.clone() for name, value in state.tensors().items()}
        into[state.step] = (weights(state), tensors, json.dumps(state.values()))

    return save


OPTIONS = {
    "adam": {"optimizer": "adam", "weight_decay": 0.01},
    "momentum": {"optimizer": "sgd", "momentum": 0.9},
    "plain sgd": {"optimizer": "sgd"},
    "schedule-free": {"optimizer": "schedule-free"},
    "moving average": {"ema": 0.9},
    "average for validation only": {"ema": 0.9, "ema_use": "validation"},
    "average for the model only": {"ema": 0.9, "ema_use": "model"},
    "groups": {"groups": [{"match": "blocks.0.*", "rate": 0.5}], "frozen": ["embed.*"], "layer_decay": 0.9},
    "spikes skipped": {"on_spike": "skip", "spike_deviations": 0.01, "spike_window": 16},
    "the two best": {"average": {"checkpoints": 2, "of": "best"}},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_a_resumed_run_ends_with_the_bytes_of_one_that_was_not_stopped(name: str) -> None:
    settings = config(steps=24, save_every=20, **OPTIONS[name])
    saved: dict[int, Saved] = {}
    whole = begin(settings)
    run(whole, settings, saver(saved))
    folder, tensors, values = saved[20]
    again = begin(settings, seed=1)
    with torch.no_grad():
        for parameter_name, parameter in again.model.named_parameters():
            parameter.copy_(folder[parameter_name])
    again.restore(tensors, json.loads(values))
    resaved: dict[int, Saved] = {}
    run(again, settings, saver(resaved))
    assert all(torch.equal(value, weights(again)[key]) for key, value in weights(whole).items())
    for before, after in zip(saved[24][:2], resaved[24][:2], strict=True):
        assert before.keys() == after.keys()
        assert all(torch.equal(value, after[key]) for key, value in before.items())
    assert saved[24][2] == resaved[24][2]


@pytest.mark.parametrize("name", ["schedule-free", "moving average"])
def test_averaged_weights_are_validated_and_saved_while_others_are_trained(name: str) -> None:
    settings = config(**OPTIONS[name])
    saved: dict[int, Saved] = {}
    state = begin(settings)
    lines = run(state, settings, saver(saved))
    folder, tensors, _ = saved[12]
    examined = model()
    examined.load_state_dict(folder, strict=False)
    measured = validate(Learner(examined), mixture(settings), settings.validation_rows, CPU)
    assert lines.rows[12]["valid_loss"] == pytest.approx(measured["valid_loss"], abs=1e-7)
    trained = weights(state)
    assert not torch.equal(folder["blocks.0.ffn.up.weight"], trained["blocks.0.ffn.up.weight"])
    assert all(torch.equal(tensors[f"{key}/weights"], value) for key, value in trained.items())


def test_float16_trains_with_a_scale_that_resumes() -> None:
    settings = config(steps=6, save_every=4)
    half, saved = Compute(torch.device("cpu"), torch.float16), dict[int, Saved]()
    whole = begin(settings)
    whole_lines = run(whole, settings, saver(saved), compute=half)
    assert json.loads(saved[4][2])["loss_scale"] == {"scale": 2.0**16, "good_steps": 4}
    single = run(begin(settings), settings)
    assert whole_lines.rows[6]["loss"] == pytest.approx(single.rows[6]["loss"], abs=0.02)
    again = begin(settings)
    again.restore(saved[4][1], json.loads(saved[4][2]))
    assert again.loss_scale == whole.loss_scale.__class__(2.0**16, 4)


def test_an_overflow_in_float16_halves_the_scale_and_leaves_the_step_out() -> None:
    settings = config(steps=2, warmup=1)
    state = begin(settings)
    before = weights(state)
    run(state, settings.model_copy(update={"steps": 1}), compute=Compute(torch.device("cpu"), torch.float16))
    assert state.skipped == 0
    assert state.loss_scale is not None
    state.loss_scale.scale = 2.0**40
    moved = weights(state)
    run(state, settings, compute=Compute(torch.device("cpu"), torch.float16))
    assert (state.skipped, state.loss_scale.scale) == (1, 2.0**39)
    assert all(torch.equal(value, moved[key]) for key, value in weights(state).items())
    assert any(not torch.equal(value, before[key]) for key, value in moved.items())


def test_a_run_in_which_no_step_is_finite_ends_though_each_is_skipped() -> None:
    settings = config(steps=100, on_nonfinite="skip", spike_window=16)
    state = begin(settings)
    with torch.no_grad():
        state.model.get_parameter("blocks.0.ffn.up.weight")[0, 0] = float("inf")
    with pytest.raises(TrainingError, match="diverges"):
        run(state, settings.model_copy(update={"evaluate_every": 100, "save_every": 100}))
    assert (state.step, state.skipped) == (8, 8)


class Jumping(Causal):
    """The loss of the step `at` is a hundred times what it would be."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.steps, self.at = 0, at

    def loss(self, model: Any, batch: Any) -> torch.Tensor:
        self.steps += model.training
        return super().loss(model, batch) * (100.0 if model.training and self.steps == self.at else 1.0)


def jump(state: TrainState, settings: TrainingConfig) -> Lines:
    plain = mixture(settings).parts[0]
    part = Part("causal", Jumping(20), plain.train, plain.held_out)
    lines = Lines()
    train(state, Mixture([part]), settings, CPU, save=lambda state: None, sinks=[lines], peak_rate=1e5)
    return lines


def test_a_spike_is_counted_skipped_or_stops_the_run_before_it_changes_a_weight() -> None:
    warned, skipped, stopped = (
        config(steps=20, on_spike=policy, spike_window=16) for policy in ("warn", "skip", "stop")
    )
    told = begin(warned)
    assert jump(told, warned).rows[20]["spikes"] == 1
    left_out = begin(skipped)
    jump(left_out, skipped)
    assert (left_out.health.spikes, left_out.skipped) == (1, 1)
    before = begin(warned)
    jump(before, warned.model_copy(update={"steps": 19}))
    halted = begin(stopped)
    with pytest.raises(TrainingError, match="spike at step 20"):
        jump(halted, stopped)
    for state in (left_out, halted):
        assert state.step == (20 if state is left_out else 19)
    assert any(not torch.equal(value, weights(told)[key]) for key, value in weights(left_out).items())
    assert all(torch.equal(value, weights(halted)[key]) for key, value in weights(left_out).items())


def test_a_rate_that_diverges_stops_the_run_and_what_was_saved_before_is_kept() -> None:
    settings = config(
        steps=200, warmup=10, optimizer="adamw", learning_rate=10.0, schedule="constant",
        save_every=1, evaluate_every=200, spike_window=16,
    )  # fmt: skip
    saved: dict[int, Saved] = {}
    state = begin(settings)
    with pytest.raises(TrainingError, match="diverges"):
        run(state, settings, saver(saved))
    assert state.step < 40
    lines = run(begin(settings), settings.model_copy(update={"steps": max(saved), "log_every": 1})).rows
    assert max(line["loss"] for line in lines.values()) < 7  # no checkpoint of the time when it was astray
    warned = settings.model_copy(update={"on_divergence": "warn", "steps": 50})
    assert run(begin(settings), warned).rows[50]["loss"] > 7


def test_the_norm_of_each_block_is_in_every_line() -> None:
    settings = config()
    lines = run(begin(settings), settings).rows
    assert list(lines) == [2, 4, 6, 8, 10, 12]
    for line in lines.values():
        parts = {name for name in line if name.startswith("gradient_norm.")}
        assert parts == {f"gradient_norm.{part}" for part in ("embed", "blocks.0", "blocks.1", "norm")}
        assert all(line[part] <= line["gradient_norm"] + 1e-6 for part in parts)


def test_the_best_checkpoint_is_that_of_any_logged_metric() -> None:
    state = begin(config())
    run(state, config(metric="tokens", better="higher"))
    assert (state.best_step, state.best_value) == (12, 12 * 4 * 16)
    state = begin(config())
    run(state, config(metric="tokens", better="lower", patience=1))
    assert (state.best_step, state.step) == (4, 8)  # stopped early: more tokens are worse here
    with pytest.raises(ConfigError, match="valid_loss"):
        run(begin(config()), config(metric="valid_los"))


def test_the_best_checkpoints_are_ranked() -> None:
    settings = config(metric="tokens", better="higher", average={"checkpoints": 2, "of": "best"})
    state = begin(settings)
    run(state, settings)
    assert [best.step for best in state.best] == [12, 8]


def test_state_of_an_earlier_version_is_read() -> None:
    settings = config()
    state = begin(settings)
    values = state.values()
    for later in ("best", "health", "loss_scale"):
        del values[later]
    state.restore({}, {**values, "best_loss": 2.5, "best_step": 7, "rows_taken": 48})
    assert (state.best_value, state.best_step, state.taken) == (2.5, 7, (48,))
