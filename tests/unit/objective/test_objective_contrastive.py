"""InfoNCE: known answers, log n where nothing is known, copies that are no negatives, pieces that equal the whole."""

import math

import numpy as np
import pytest
import torch

from finetuning import V, every_row, examined, gradients, learn, same, tiny
from hanlin.base.errors import ConfigError, DataError
from hanlin.batches.views import TextPairs
from hanlin.objective.contrastive import Contrastive, copies


def drawn(count, seed, low=3, high=9):
    draw = np.random.default_rng(seed)
    return [draw.integers(4, V, draw.integers(low, high)).tolist() for _ in range(count)]


def pairs(count=6, layout="packed", negatives=False):
    return TextPairs(
        drawn(count, 1), drawn(count, 2), drawn(count, 3) if negatives else None, pad_id=0, layout=layout
    )


def fixed(objective, *views):
    """An objective whose model gives these vectors for the views."""
    given = iter(torch.tensor(view) for view in views)
    objective._vectors = lambda model, inputs: next(given)
    return objective


FIRST, SECOND = [[1.0, 0.0], [0.0, 2.0]], [[3.0, 0.0], [1.0, 1.0]]


def test_by_hand():
    """Cosines: 1 and 1/sqrt 2; 0 and 1/sqrt 2."""
    model, batch = tiny(head="none"), every_row(pairs(2))
    half = math.sqrt(0.5)
    first = math.log(math.exp(2) + math.exp(2 * half)) - 2
    second = math.log(1 + math.exp(2 * half)) - 2 * half
    loss = fixed(Contrastive(temperature=0.5), FIRST, SECOND).loss(model, batch)
    assert float(loss) == pytest.approx(first + second, abs=1e-5)
    back = (math.log(math.exp(2) + 1) - 2) + (math.log(2 * math.exp(2 * half)) - 2 * half)
    loss = fixed(Contrastive(temperature=0.5, symmetric=True), FIRST, SECOND).loss(model, batch)
    assert float(loss) == pytest.approx((first + second + back) / 2, abs=1e-5)
    batch = every_row(pairs(2, negatives=True))
    loss = fixed(Contrastive(temperature=0.5), FIRST, SECOND, [[0.0, 1.0], [0.0, -1.0]]).loss(model, batch)
    first = math.log(math.exp(2) + math.exp(2 * half) + 1 + 1) - 2
    second = math.log(1 + math.exp(2 * half) + math.exp(2) + math.exp(-2)) - 2 * half
    assert float(loss) == pytest.approx(first + second, abs=1e-5)


@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_where_nothing_is_known_the_loss_is_log_n(pooling):
    """A random model and partners that have nothing to do with each other."""
    model = tiny(far=False, head="none", pooling=pooling)
    for count, negatives, candidates in ((64, False, 64), (64, True, 128)):
        said = examined(model, Contrastive(temperature=1.0), every_row(pairs(count, negatives=negatives)))
        assert said["loss"] == pytest.approx(math.log(candidates), rel=0.03)
        assert said["accuracy"] < 0.1


def test_copies_are_no_negatives():
    #                     0 and 2 have one partner; 3 is 0's partner by itself; the negative of 1 is 0's partner
    texts_B3 = torch.tensor([[1, 5, 8], [2, 6, 5], [3, 5, 9], [4, 7, 7]])
    assert copies(texts_B3).tolist() == [
        [False, False, True, False, False, True, False, False],
        [False, False, False, False, False, False, False, False],
        [True, False, False, False, False, True, False, False],
        [False, False, False, False, False, False, False, True],
    ]
    own = torch.tensor([[1, 1, -1], [2, 2, -1], [1, 1, -1]])  # dropout views, one text twice
    assert copies(own)[:, :3].tolist() == [[False, False, True], [False, False, False], [True, False, False]]


@torch.no_grad()
def test_a_copy_changes_no_loss():
    model = tiny(head="none")
    first, second = drawn(4, 1), drawn(4, 2)
    plain = Contrastive().loss(model, every_row(TextPairs(first, second, pad_id=0)))
    both = TextPairs([*first, first[0]], [*second, second[0]], pad_id=0)
    twice = Contrastive().loss(model, every_row(both))
    alone = Contrastive()._scores(model, every_row(TextPairs(first, second, pad_id=0)))
    row = float(torch.nn.functional.cross_entropy(alone[:1], torch.tensor([0])).detach())
    seen = Contrastive()._scores(model, every_row(both))
    assert torch.isinf(seen).sum() == 2
    other_rows = float(torch.logsumexp(seen[1:4], 1).sum() - torch.logsumexp(alone[1:], 1).sum())
    assert float(twice - plain) == pytest.approx(row + other_rows, abs=1e-4)


@pytest.mark.parametrize(("style", "pooling"), [("bert", "first"), ("bert", "mean"), ("llama", "last")])
@pytest.mark.parametrize("symmetric", [False, True])
def test_padded_packed_and_pieces_are_one(style, pooling, symmetric):
    model = tiny(style, head="none", pooling=pooling)
    padded, packed = (every_row(pairs(7, layout, negatives=True)) for layout in ("padded", "packed"))
    made = {"symmetric": symmetric, "temperature": 0.5}  # a lower one multiplies rounding too
    whole = gradients(model, Contrastive(**made), [padded])
    same(whole, gradients(model, Contrastive(**made), [packed]))
    for rows in (1, 3):
        pieces = gradients(model, Contrastive(**made, micro_rows=rows), [packed])
        same(whole, pieces)


def test_pieces_repeat_their_dropout():
    """Against the same pieces kept in memory: equal only if what is computed anew draws what was drawn before."""
    model = tiny(head="none", dropout=0.3).train()
    batch = every_row(pairs(6))
    cached = Contrastive(micro_rows=2)
    kept = Contrastive(micro_rows=2)
    kept._vectors = lambda model, inputs: torch.cat(
        [Contrastive()._vectors(model, piece) for piece in inputs.split(2)]
    )
    torch.manual_seed(5)
    first = gradients(model, cached, [batch])
    torch.manual_seed(5)
    second = gradients(model, kept, [batch])
    same(first, second)
    torch.manual_seed(6)
    other = gradients(model, kept, [batch])
    assert abs(first[0] - other[0]) > 1e-3


def test_dropout_makes_two_views_and_without_it_training_is_refused():
    examples = TextPairs(drawn(5, 1), pad_id=0)
    batch = every_row(examples)
    model = tiny(head="none", dropout=0.2)
    assert examined(model, Contrastive(), batch)["accuracy"] == 1
    scores = Contrastive(temperature=1.0)._scores(model.train(), batch)
    assert scores.diagonal().max() < 0.9999
    with pytest.raises(ConfigError, match="Both views of every text are the same"):
        Contrastive().loss(tiny(head="none").train(), batch)


def test_an_empty_text_is_refused():
    with pytest.raises(DataError, match="a:2"):
        TextPairs([[4], []], pad_id=0, places=["a:1", "a:2"])


def test_it_learns_which_texts_belong_together_and_the_trainer_keeps_the_batch_whole():
    """Partners are translations, token by token, in another order; with micro_rows of the trainer at 4 the batch stays 16."""
    draw = np.random.default_rng(0)
    first = [draw.choice(np.arange(4, 14), 4, replace=False).tolist() for _ in range(160)]
    second = [[token + 10 for token in draw.permutation(ids)] for ids in first]
    model = tiny(far=False, layers=1, head="none", pooling="mean")
    objective = Contrastive(temperature=0.1, symmetric=True, micro_rows=8)
    losses = learn(
        model, objective, TextPairs(first[:128], second[:128], pad_id=0), steps=60, rate=2e-2, micro_rows=4
    )
    assert losses[0] > 2
    said = examined(model, objective, every_row(TextPairs(first[128:], second[128:], pad_id=0)))
    assert said["accuracy"] > 0.7
