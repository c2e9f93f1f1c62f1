import math

import numpy as np
import pytest
import torch

from hanlin.base.device import Compute
from hanlin.base.errors import TrainingError
from hanlin.batches.loader import Loader
from hanlin.batches.pack import PackedRows
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from hanlin.objective.causal import Causal
from hanlin.objective.mixture import Mixture, Part
from hanlin.trainer.config import TrainingConfig
from hanlin.trainer.find_rate import find_rate, judge

RATES = np.logspace(-6, 0, 121).tolist()


def test_the_steepest_fall_before_the_lowest_loss_is_suggested() -> None:
    """A fall of 4 nats around 1e-3, an even steeper climb from 1e-1 on, and a ripple that is no fall."""
    powers = np.log10(RATES)
    losses = 6 - 4 / (1 + np.exp(-4 * (powers + 3))) + 20 / (1 + np.exp(-8 * (powers + 0.5)))
    losses += 0.01 * np.sin(40 * powers)
    sweep = judge(RATES, losses.tolist())
    assert sweep.suggested == pytest.approx(1e-3, rel=0.3)
    assert 1e-2 < sweep.lowest_at < 1e-1
    assert f"{sweep.suggested:.1e}" in sweep.why.en
    assert sweep.losses == pytest.approx(losses.tolist())
    assert len(sweep.smoothed) == len(losses)


def test_where_no_rate_lowers_the_loss_none_is_suggested() -> None:
    sweep = judge(RATES, [3.0] * len(RATES))
    assert sweep.suggested is None
    assert "widen the sweep" in sweep.why.en
    assert judge(RATES[:1], [3.0]).suggested is None


def test_a_loss_that_never_was_finite_is_told() -> None:
    tokens = np.tile(np.arange(1, 9, dtype=np.uint16), 200)
    rows = Loader(PackedRows(tokens, 16, 0), rows=8)
    mixture = Mixture([Part("causal", Causal(), rows, rows)])

    def build() -> Decoder:
        model = Decoder(CoreConfig(vocab_size=16, width=16, layers=1, heads=2, window=16))
        torch.nn.init.constant_(model.norm.weight, math.inf)
        return model

    with pytest.raises(TrainingError, match="not finite"):
        find_rate(build, mixture, TrainingConfig(), Compute(torch.device("cpu"), torch.float32))


def test_a_sweep_ends_where_the_loss_is_beyond_help_and_its_suggestion_trains() -> None:
    config = TrainingConfig(batch_rows=8, optimizer="adamw", warmup=2, steps=40)
    tokens = np.tile(np.arange(1, 9, dtype=np.uint16), 200)
    rows = Loader(PackedRows(tokens, 16, 0), rows=8)
    mixture = Mixture([Part("causal", Causal(), rows, rows)])
    built: list[Decoder] = []

    def build() -> Decoder:
        torch.manual_seed(0)
        built.append(Decoder(CoreConfig(vocab_size=16, width=16, layers=1, heads=2, window=16)))
        return built[-1]

    sweep = find_rate(
        build,
        mixture,
        config,
        Compute(torch.device("cpu"), torch.float32),
        steps=60,
        lowest=1e-5,
        highest=1e3,
    )
    assert len(built) == 1
    assert len(sweep.rates) < 60  # 1e3 is never reached
    assert all(math.isfinite(loss) for loss in sweep.losses)
    assert sweep.rates[1] / sweep.rates[0] == pytest.approx(1e8 ** (1 / 59))
    assert sweep.suggested is not None
    assert 1e-3 < sweep.suggested < 1
