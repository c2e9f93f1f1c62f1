import copy
import math

import numpy as np
import pytest
import torch

from hanlin.base.device import Compute
from hanlin.base.errors import TrainingError
from hanlin.batches.batch import IGNORE, Batch
from hanlin.batches.loader import Loader
from hanlin.batches.pack import PackedRows
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from hanlin.objective.causal import Causal
from hanlin.objective.mixture import Mixture, Part
from hanlin.trainer.config import PretrainConfig
from hanlin.trainer.learner import Learner
from hanlin.trainer.loop import train
from hanlin.trainer.optimizer import build_optimizers
from hanlin.trainer.state import TrainState
from hanlin.trainer.step import training_step
from hanlin.trainer.validate import examine_part

CPU = Compute(torch.device("cpu"), torch.float32)
CORE = CoreConfig(vocab_size=32, width=16, layers=2, heads=2, window=16)


def make_model() -> Decoder:
    torch.manual_seed(0)
    return Decoder(CORE)


def make_batch(rows: int = 8, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, 32, (rows, 17), generator=generator)
    targets = tokens[:, 1:].clone()
    targets[torch.rand(targets.shape, generator=generator) < 0.4] = IGNORE  # uneven masks
    targets[0] = IGNORE
    return Batch(tokens[:, :-1], targets)


def gradients_after(micro_rows: int) -> dict[str, torch.Tensor]:
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    training_step(
        Learner(model),
        Causal(),
        [optimizer],
        make_batch(),
        CPU,
        micro_rows=micro_rows,
        clip=1e9,
        on_nonfinite="stop",
    )
    return {name: before[name] - p.detach() for name, p in model.named_parameters()}


@pytest.mark.parametrize("micro_rows", [1, 2, 3, 5])
def test_the_gradient_does_not_depend_on_how_a_batch_is_split(micro_rows: int) -> None:
    whole, split = gradients_after(8), gradients_after(micro_rows)
    for name in whole:
        torch.testing.assert_close(split[name], whole[name], atol=1e-6, rtol=1e-4)


def test_a_mean_of_means_would_be_another_gradient() -> None:
    """The rule that we refuse gives another loss on the same uneven masks, so the test above can fail."""
    model, batch = make_model(), make_batch()
    parts = [
        (Causal().loss(model, part), Causal().count(part)) for part in batch.split(2) if Causal().count(part)
    ]
    mean_of_means = sum(float(loss.detach()) / count for loss, count in parts) / len(parts)
    ours = sum(float(loss.detach()) for loss, _ in parts) / sum(count for _, count in parts)
    assert abs(mean_of_means - ours) > 1e-3


def test_a_step_lowers_the_loss_of_its_batch() -> None:
    model, batch = make_model(), make_batch()
    optimizers = build_optimizers(model, PretrainConfig(steps=10, warmup=1))
    losses = [
        training_step(
            Learner(model), Causal(), optimizers, batch, CPU, micro_rows=8, clip=1.0, on_nonfinite="stop"
        ).loss
        for _ in range(5)
    ]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("policy", ["stop", "skip"])
def test_a_step_that_is_not_finite_changes_no_weight(policy: str) -> None:
    model = make_model()
    with torch.no_grad():
        model.blocks[1].ffn.down.weight[0, 0] = math.inf
    before = copy.deepcopy(model.state_dict())
    optimizers = build_optimizers(model, PretrainConfig(steps=10, warmup=1))

    def step() -> bool:
        return training_step(
            Learner(model),
            Causal(),
            optimizers,
            make_batch(),
            CPU,
            micro_rows=4,
            clip=1.0,
            on_nonfinite=policy,
        ).updated

    if policy == "stop":
        with pytest.raises(TrainingError, match="not finite"):
            step()
    else:
        assert step() is False
        assert all(p.grad is None for p in model.parameters())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_gradients_are_clipped_to_the_norm() -> None:
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    before = [p.detach().clone() for p in model.parameters()]
    result = training_step(
        Learner(model), Causal(), [optimizer], make_batch(), CPU, micro_rows=8, clip=0.01, on_nonfinite="stop"
    )
    moved = torch.cat([(b - p.detach()).flatten() for b, p in zip(before, model.parameters(), strict=True)])
    assert result.gradient_norm > 0.01
    assert float(moved.norm()) == pytest.approx(0.01, rel=1e-3)


class Recorder:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, float | int | str]]] = []

    def write(self, step: int, metrics: dict[str, float | int | str]) -> None:
        self.rows.append((step, dict(metrics)))

    def close(self) -> None:
        pass


def run_loop(
    config: PretrainConfig, state: TrainState, tokens: np.ndarray
) -> tuple[str, Recorder, list[int]]:
    sink, saved = Recorder(), []
    rows = Loader(PackedRows(tokens, 16, 0), rows=config.batch_rows, seed=config.seed)
    held_out = Loader(PackedRows(tokens[:200], 16, 0), rows=4)
    mixture = Mixture([Part("causal", Causal(), rows, held_out)])
    ending = train(
        state, mixture, config, CPU,
        save=lambda s: saved.append(s.step), sinks=[sink], peak_rate=1e5,
    )  # fmt: skip
    return ending, sink, saved


def repeating_tokens() -> np.ndarray:
    return np.tile(np.arange(1, 9, dtype=np.uint16), 200)


def test_the_loop_learns_a_task_that_it_must_learn() -> None:
    config = PretrainConfig(
        steps=60, warmup=5, batch_rows=8, evaluate_every=20, log_every=20, save_every=50,
        learning_rate=0.03, muon_learning_rate=0.05,
    )  # fmt: skip
    model = make_model()
    state = TrainState(model, build_optimizers(model, config))
    ending, sink, saved = run_loop(config, state, repeating_tokens())
    assert ending == "finished"
    assert sink.rows[-1][1]["valid_loss"] < 0.1  # a cycle of eight tokens can be foretold
    assert saved[-1] == 60
    assert state.best_step in saved
    assert state.tokens == 60 * 8 * 16


def test_patience_ends_a_run_that_no_longer_improves() -> None:
    config = PretrainConfig(
        steps=500,
        warmup=1,
        batch_rows=4,
        evaluate_every=2,
        patience=3,
        muon_learning_rate=1e-12,
        learning_rate=1e-12,
    )
    model = make_model()
    state = TrainState(model, build_optimizers(model, config))
    tokens = np.random.default_rng(0).integers(1, 32, 2000).astype(np.uint16)
    ending, _, saved = run_loop(config, state, tokens)
    assert ending == "early stop"
    assert state.step < 500
    assert saved[-1] == state.step
    step = state.step
    again, _, saved = run_loop(config, state, tokens)  # as after a kill between the last save and the end
    assert (again, state.step, saved) == ("early stop", step, [])


def valid_loss(model: Decoder, tokens: np.ndarray, rows: int, limit: int) -> float:
    loader = Loader(PackedRows(tokens, 16, 0), rows=rows)
    return examine_part(Learner(model), Part("causal", Causal(), loader, loader), limit, CPU)["loss"]


def test_validation_is_the_mean_over_tokens_and_leaves_the_model_training() -> None:
    model = make_model().train()
    tokens = np.random.default_rng(0).integers(1, 32, 16 * 7 + 1).astype(np.uint16)
    loss = valid_loss(model, tokens, 3, 100)
    block = torch.from_numpy(tokens.astype(np.int64))
    inputs, targets = block[:-1].view(7, 16), block[1:].view(7, 16)
    expected = torch.nn.functional.cross_entropy(model.eval()(inputs).flatten(0, 1), targets.flatten())
    assert loss == pytest.approx(float(expected.detach()), abs=1e-5)
    model.train()
    valid_loss(model, tokens, 3, 1)
    assert model.training


def test_a_validation_loss_that_is_not_finite_is_never_a_best() -> None:
    model = make_model()
    with torch.no_grad():
        model.norm.weight[0] = math.nan
    tokens = np.arange(1, 18, dtype=np.uint16)
    with pytest.raises(TrainingError, match="not finite"):
        valid_loss(model, tokens, 1, 1)
