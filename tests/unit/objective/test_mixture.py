from itertools import islice

import numpy as np
import pytest
import torch

from hanlin.base.device import Compute
from hanlin.batches.loader import Loader
from hanlin.batches.pack import PackedRows
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from hanlin.objective.causal import Causal
from hanlin.objective.mixture import Mixture, Part
from hanlin.trainer.learner import Learner
from hanlin.trainer.validate import validate


def part(name, weight, rows=2, first=1):
    tokens = np.arange(first, first + 60, dtype=np.uint16)
    loader = Loader(PackedRows(tokens, 5, 0), rows=rows)
    return Part(name, Causal(), loader, loader, weight)


def taken(mixture, steps, start=None):
    return [
        (one.name, batch.tokens_BT[:, 0].tolist(), state)
        for one, batch, state in islice(mixture.stream(start or mixture.start()), steps)
    ]


def test_each_part_has_its_share_of_the_steps_at_any_time():
    mixture = Mixture([part("a", 3), part("b", 1), part("c", 0.5)])
    names = [name for name, _, _ in taken(mixture, 90)]
    for steps in range(1, 91):
        for name, weight in (("a", 3), ("b", 1), ("c", 0.5)):
            assert abs(names[:steps].count(name) - steps * weight / 4.5) <= 1
    assert names.count("a") == 60


def test_the_state_says_where_every_part_goes_on():
    def make():
        return Mixture([part("a", 2), part("b", 1, rows=3, first=100)])

    whole = taken(make(), 12)
    for at in range(1, 12):
        assert taken(make(), 12 - at, whole[at - 1][2]) == whole[at:]


def test_validation_tells_parts_apart_and_weighs_their_mean():
    torch.manual_seed(0)
    model = Decoder(CoreConfig(vocab_size=200, width=8, layers=1, heads=1, window=8))
    compute = Compute(torch.device("cpu"), torch.float32)
    parts = [part("a", 3), part("b", 1, first=100)]
    values = validate(Learner(model), Mixture(parts), 4, compute)
    assert values.keys() == {"valid_loss", "valid_loss.a", "valid_loss.b"}
    assert values["valid_loss"] == pytest.approx((3 * values["valid_loss.a"] + values["valid_loss.b"]) / 4)
    assert values["valid_loss.a"] != values["valid_loss.b"]
    assert validate(Learner(model), Mixture(parts[:1]), 4, compute) == {"valid_loss": values["valid_loss.a"]}
