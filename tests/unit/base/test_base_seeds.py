import json
import random

import numpy as np
import torch

from hanlin.base.seeds import capture_random_state, restore_random_state, seed_everything


def draw():
    """Numbers of every generator; normal ones too, as they keep a second value for later."""
    return (
        [random.random(), random.gauss(0, 1)],
        np.random.standard_normal(3).tolist(),
        torch.randn(3).tolist(),
        torch.nn.functional.dropout(torch.ones(20)).tolist(),
    )


def test_the_same_seed_gives_the_same_numbers():
    seed_everything(5)
    first = draw()
    seed_everything(5)
    assert draw() == first
    seed_everything(6)
    assert draw() != first


def test_a_state_that_went_through_json_gives_the_same_next_numbers():
    seed_everything(2**40 + 3)
    draw()
    state = json.loads(json.dumps(capture_random_state()))
    expected = [draw() for _ in range(3)]
    seed_everything(0)
    restore_random_state(state)
    assert [draw() for _ in range(3)] == expected


def test_capturing_draws_nothing():
    seed_everything(1)
    expected = draw()
    seed_everything(1)
    capture_random_state()
    assert draw() == expected
