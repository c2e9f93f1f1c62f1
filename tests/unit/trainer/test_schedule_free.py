import math

import pytest
import torch
from torch import Tensor

from hanlin.trainer.schedule_free import ScheduleFreeAdamW


def paper(
    gradients: list[float], rates: list[float], b1: float, b2: float, decay: float
) -> list[tuple[float, float]]:
    """(x, y) after each step on one weight that begins at 1, as arXiv 2405.15682, algorithm 1 writes it."""
    x = z = 1.0
    v, squares, path = 0.0, 0.0, []
    for t, (g, rate) in enumerate(zip(gradients, rates, strict=True), 1):
        y = (1 - b1) * z + b1 * x
        v = b2 * v + (1 - b2) * g * g
        z -= rate * (g / (math.sqrt(v / (1 - b2**t)) + 1e-8) + decay * y)
        squares += rate**2
        c = rate**2 / squares
        x = (1 - c) * x + c * z
        path.append((x, (1 - b1) * z + b1 * x))
    return path


def test_it_equals_the_paper_step_by_step_with_warmup_and_decay() -> None:
    gradients = torch.randn(300, generator=torch.Generator().manual_seed(0), dtype=torch.float64).tolist()
    rates = [1e-2 * min(1.0, (t + 1) / 20) for t in range(300)]
    weight = torch.ones(1, dtype=torch.float64, requires_grad=True)
    optimizer = ScheduleFreeAdamW([{"params": [weight]}], 1e-2, (0.9, 0.95), weight_decay=0.1)
    assert torch.equal(optimizer.average(weight), weight)
    ours = []
    for gradient, rate in zip(gradients, rates, strict=True):
        optimizer.param_groups[0]["lr"] = rate
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
        ours.append((float(optimizer.average(weight)), float(weight.detach())))
    expected = paper(gradients, rates, 0.9, 0.95, 0.1)
    for mine, theirs in zip(ours, expected, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-9)
    assert abs(ours[-1][0] - ours[-1][1]) > 1e-5  # x and y are two points


def test_what_counts_for_a_whole_parameter_is_never_taken_for_one() -> None:
    """A bias of two has the shape of two counters: laid out as the parameter is, they could not be read."""
    weight = torch.ones(2, requires_grad=True)
    optimizer = ScheduleFreeAdamW([{"params": [weight]}], 0.1, (0.9, 0.95))
    weight.grad = torch.ones(2)
    optimizer.step()
    alike = {name for name, value in optimizer.state[weight].items() if value.shape == weight.shape}
    assert alike == {"z", "square"}


def noisy(weight: Tensor, generator: torch.Generator) -> Tensor:
    return ((weight - 3) ** 2).sum() + weight @ torch.randn(weight.shape, generator=generator) * 4


def test_its_average_comes_nearer_to_the_minimum_than_the_steps_themselves() -> None:
    weight = torch.zeros(64, requires_grad=True)
    optimizer = ScheduleFreeAdamW([{"params": [weight]}], 0.1, (0.9, 0.95))
    generator = torch.Generator().manual_seed(1)
    for _ in range(500):
        optimizer.zero_grad()
        noisy(weight, generator).backward()
        optimizer.step()
    at_average = float((optimizer.average(weight) - 3).norm())
    assert at_average < 0.7 * float((optimizer.state[weight]["z"] - 3).norm())
    assert at_average < 2
