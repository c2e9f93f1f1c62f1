import json

import numpy as np
import pytest

from hanlin.trainer.health import Gap, Health, Losses


def fed(values: list[float], window: int = 32) -> Losses:
    losses = Losses()
    for loss in values:
        losses.add(loss, window)
    return losses


def noise(count: int, around: float, seed: int = 0) -> list[float]:
    return (around + 0.1 * np.random.default_rng(seed).standard_normal(count)).tolist()


def test_deviations_are_those_of_a_normal_distribution_and_one_outlier_does_not_hide_the_next() -> None:
    losses = noise(2000, 3.0)
    health = fed(losses, window=2000)
    assert health.deviations(3.5) == pytest.approx(5, rel=0.1)  # 0.5 above, with a standard deviation of 0.1
    spiked = fed([*losses[:40], 1000.0, 900.0], window=64)
    assert spiked.deviations(4.5) > 8
    assert spiked.deviations(3.05) < 2


def test_nothing_is_a_spike_before_there_is_enough_to_compare_with_and_a_flat_curve_has_none() -> None:
    assert fed([3.0] * 5).deviations(100.0) == 0
    assert fed([3.0] * 40).deviations(3.0 * 1.05) < 8


def test_a_run_that_loses_what_it_had_learned_has_diverged_and_one_that_learns_has_not() -> None:
    falling = (7 * np.exp(-np.arange(300) / 60) + 2).tolist()
    assert not fed(falling).diverged(32)
    assert fed([*falling, *noise(60, 8.0)]).diverged(32)
    assert not fed([*falling, *noise(60, 8.0)[:5], *noise(60, 2.0)]).diverged(
        32
    )  # a few bad steps are no divergence
    assert not fed([*falling, *noise(60, 3.5)]).diverged(32)
    assert fed([4.0, *noise(60, 300.0)]).diverged(32)  # never learned


def look(gap: Gap, train: float, valid: float) -> bool:
    gap.add(train - 0.1)
    gap.add(train + 0.1)
    return gap.look(valid)


def test_learning_by_heart_is_seen_by_both_losses_together() -> None:
    gap = Gap()
    assert not look(gap, 3.0, 3.1)
    assert not look(gap, 2.5, 2.8)
    assert not look(gap, 2.6, 3.2)  # both rose
    assert not look(gap, 2.4, 2.85)  # the gap grew by little
    assert gap.words().en == "No sign of over-fitting."
    assert look(gap, 1.9, 3.0)
    assert gap.alarms == 1
    assert "at 1 validations" in gap.words().en


def test_its_memory_survives_json() -> None:
    health = Health()
    for loss in noise(50, 3.0):
        health.of("causal").add(loss, 32)
    health.spikes = 2
    look(health.gap, 3.0, 3.1)
    assert Health.from_values(json.loads(json.dumps(health.values()))) == health
    assert Health.from_values(json.loads(json.dumps(Health().values()))) == Health()
