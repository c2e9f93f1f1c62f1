"""Gradient descent and Adam as their formulas say, on weights of a few numbers and on a tiny model."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hanlin.base.device import Compute
from hanlin.batches.batch import Batch
from hanlin.batches.loader import Loader
from hanlin.batches.pack import PackedRows
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from hanlin.objective.causal import Causal
from hanlin.trainer.config import TrainingConfig
from hanlin.trainer.learner import Learner
from hanlin.trainer.optimizer import build_optimizers
from hanlin.trainer.step import training_step

CPU = Compute(torch.device("cpu"), torch.float32)
ROWS = 11


def config(**settings: object) -> TrainingConfig:
    return TrainingConfig.model_validate({"warmup": 0, "clip": None, **settings})


def model() -> Decoder:
    torch.manual_seed(0)
    return Decoder(CoreConfig(vocab_size=32, width=16, layers=1, heads=2, window=16))


def examples() -> PackedRows:
    tokens = np.random.default_rng(0).integers(1, 32, 16 * ROWS + 1).astype(np.uint16)
    return PackedRows(tokens, 16, 0)


def whole() -> Batch:
    batch = examples().batch(np.arange(ROWS), [(0, 0, 0)] * ROWS)
    assert isinstance(batch, Batch)
    return batch


def mean_loss(network: nn.Module, batch: Batch) -> Tensor:
    return Causal().loss(network, batch) / Causal().count(batch)


def step(network: nn.Module, batch: Batch, settings: TrainingConfig, micro_rows: int = ROWS) -> None:
    training_step(
        Learner(network), Causal(), build_optimizers(network, settings), batch, CPU,
        micro_rows=micro_rows, clip=settings.clip, on_nonfinite="stop",
    )  # fmt: skip


def test_fine_tuning_goes_against_the_gradient_and_down_hill() -> None:
    """theta_1 = theta_0 - alpha grad J(theta_0): with the sign turned, J rises."""
    network = model()
    start = copy.deepcopy(network)
    loss = mean_loss(start, whole())
    loss.backward()
    step(network, whole(), config(optimizer="sgd", learning_rate=0.1))
    for before, after in zip(start.parameters(), network.parameters(), strict=True):
        assert before.grad is not None
        torch.testing.assert_close(after, before.detach() - 0.1 * before.grad, atol=1e-7, rtol=1e-5)
    with torch.no_grad():
        assert float(mean_loss(network, whole())) < float(loss)
        for before in start.parameters():
            before.add_(0.1 * before.grad)
        assert float(mean_loss(start, whole())) > float(loss)


def test_full_batch_descent_by_accumulation_is_one_big_batch() -> None:
    asked = config(optimizer="sgd", batch="full", steps=5, learning_rate=0.3)
    assert asked.batch_kind == "full batch"
    settings = asked.for_rows(ROWS)
    stream = Loader(examples(), rows=settings.batch_rows).stream(0)
    ours, big = model(), model()
    optimizer = torch.optim.SGD(big.parameters(), lr=0.3)
    for _ in range(5):
        step(ours, next(stream), settings, micro_rows=2)
        optimizer.zero_grad()
        mean_loss(big, whole()).backward()
        optimizer.step()
    for mine, theirs in zip(ours.parameters(), big.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-5)


def test_single_sample_descent_updates_after_every_row_and_a_mini_batch_after_several() -> None:
    single, several = config(optimizer="sgd", batch_rows=1), config(optimizer="sgd", batch_rows=4)
    assert (single.batch_kind, several.batch_kind) == ("single sample", "mini-batch of 4 rows")
    assert single.model_copy(update={"epochs": 1.0}).for_rows(ROWS).steps == ROWS
    one_by_one, at_once = model(), model()
    for row in whole().split(1)[:4]:
        step(one_by_one, row, single)
    step(at_once, whole().split(4)[0], several)
    ours, theirs = (
        torch.cat([p.detach().flatten() for p in net.parameters()]) for net in (one_by_one, at_once)
    )
    assert float((ours - theirs).abs().max()) > 1e-3  # four steps are not one


def descended(optimizer: str, **settings: object) -> list[float]:
    """The path of one weight of a block, given the same gradients at each step."""
    network = nn.ModuleDict({"blocks": nn.ModuleList([nn.Linear(1, 1, bias=False, dtype=torch.float64)])})
    (weight,) = network.parameters()
    with torch.no_grad():
        weight.fill_(1.0)
    (built,) = build_optimizers(network, config(optimizer=optimizer, **settings))
    path = []
    for gradient in np.random.default_rng(0).standard_normal(50):
        weight.grad = torch.full((1, 1), gradient, dtype=torch.float64)
        built.step()
        path.append(float(weight.detach()))
    return path


def written_out(kind: str, rate: float, decay: float, b1: float, b2: float = 0.0) -> list[float]:
    """The same by hand: sgd with momentum b1, adam (arXiv 1412.6980, alg. 1), adamw (arXiv 1711.05101, alg. 2)."""
    weight, m, v, path = 1.0, 0.0, 0.0, []
    for t, g in enumerate(np.random.default_rng(0).standard_normal(50), 1):
        g = g + (decay * weight if kind != "adamw" else 0.0)
        if kind == "sgd":
            m = b1 * m + g
            weight -= rate * m
        else:
            m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
            apart = decay * weight if kind == "adamw" else 0.0
            weight -= rate * (m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + 1e-8) + apart)
        path.append(float(weight))
    return path


@pytest.mark.parametrize(
    ("kind", "settings", "betas"),
    [
        ("sgd", {}, (0.0,)),
        ("sgd", {"momentum": 0.9, "weight_decay": 0.1}, (0.9,)),
        ("adam", {}, (0.9, 0.999)),
        ("adam", {"weight_decay": 0.1, "betas": (0.8, 0.9)}, (0.8, 0.9)),
        ("adamw", {"weight_decay": 0.1}, (0.9, 0.95)),
    ],
)
def test_each_optimizer_equals_its_formula_written_out(
    kind: str, settings: dict[str, object], betas: tuple[float, ...]
) -> None:
    path = descended(kind, learning_rate=0.05, **settings)
    decay = float(settings.get("weight_decay", 0.0))  # type: ignore[arg-type]
    assert path == pytest.approx(written_out(kind, 0.05, decay, *betas), rel=1e-9)


def test_coupled_and_decoupled_decay_are_two_things() -> None:
    coupled = descended("adam", learning_rate=0.05, weight_decay=0.1, betas=(0.9, 0.95))
    apart = descended("adamw", learning_rate=0.05, weight_decay=0.1)
    assert abs(coupled[-1] - apart[-1]) > 1e-3
