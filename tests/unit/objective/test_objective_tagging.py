"""Labels of tokens: known answers, one loss for both layouts, spans counted whole, a task that must be learned."""

import math

import numpy as np
import pytest
import torch

from finetuning import examined, gradients, learn, same, tiny
from hanlin.batches.batch import IGNORE
from hanlin.batches.loader import Examples
from hanlin.batches.ragged import lay_batch
from hanlin.objective.tagging import Tagging

NAMES = ("O", "B-X", "I-X")


class Rows(Examples):
    """Token ids with a label each."""

    def __init__(self, texts, targets, layout):
        self.texts, self.targets, self.layout = texts, targets, layout

    def __len__(self):
        return len(self.texts)

    def batch(self, rows, seeds):
        return lay_batch(
            [self.texts[row] for row in rows], [self.targets[row] for row in rows], self.layout, 0
        )


def drawn(count, layout="packed"):
    """Tokens below 8 form spans: the label of a token hangs on itself and on the one before."""
    draw = np.random.default_rng(0)
    texts = [draw.integers(4, 14, draw.integers(2, 9)).tolist() for _ in range(count)]
    targets = [
        [0 if t >= 8 else 2 if place and ids[place - 1] < 8 else 1 for place, t in enumerate(ids)]
        for ids in texts
    ]
    return Rows(texts, targets, layout)


def saying(*rows):
    """A model that gives the labels of these rows, whatever it reads."""
    scores = torch.nn.functional.one_hot(torch.tensor(rows), 3).float()
    model = tiny(head="tag", labels=3, label_names=NAMES)
    model.head = torch.nn.Identity()
    model.hidden = lambda *arguments, **named: scores
    return model


def test_the_loss_by_hand():
    batch = lay_batch([[5, 6, 7]], [[1, IGNORE, 0]], "padded", 0)
    loss = Tagging().loss(saying([1, 2, 2]), batch)
    normalizer = math.log(math.e + 2)
    assert float(loss) == pytest.approx((normalizer - 1) + normalizer, abs=1e-5)
    assert Tagging().count(batch) == 2


@pytest.mark.parametrize("layout", ["padded", "packed"])
def test_spans_are_right_only_whole_and_never_reach_into_the_next_text(layout):
    said = [[1, 2, 0], [1, 2, 2]]
    batch = lay_batch([[5, 5, 5], [5, 5, 5]], [[1, 2, 0], [1, 2, 0]], layout, 0)
    model = saying(*said) if layout == "padded" else saying([*said[0], *said[1]])
    values = Tagging().examine(model, batch)
    assert values["accuracy"] == (5, 6)
    assert values["f1"] == (2, 4)  # two spans are there, two are found, one of them is right
    # A text that ends inside a span, before one that begins with I: two spans, not one.
    batch = lay_batch([[5, 5], [5, 5]], [[0, 1], [2, 0]], layout, 0)
    model = saying([0, 1], [2, 0]) if layout == "padded" else saying([0, 1, 2, 0])
    assert Tagging().examine(model, batch)["f1"] == (4, 4)


def test_padded_packed_and_split_are_one():
    model = tiny(head="tag", labels=3)
    padded, packed = (drawn(7, layout).batch(np.arange(7), []) for layout in ("padded", "packed"))
    whole = gradients(model, Tagging(), [padded])
    same(whole, gradients(model, Tagging(), [packed]))
    same(whole, gradients(model, Tagging(), packed.split(2)))


def test_untagged_tokens_add_nothing():
    model = tiny(head="tag", labels=3)
    texts = [[5, 6, 7, 9]]
    some, none = (lay_batch(texts, [t], "padded", 0) for t in ([1, IGNORE, IGNORE, IGNORE], [IGNORE] * 4))
    hidden = model.hidden(some.tokens_BT).detach().requires_grad_()
    model.hidden = lambda *arguments, **named: hidden
    Tagging().loss(model, some).backward()
    assert hidden.grad[0, 0].abs().sum() > 0
    assert (hidden.grad[0, 1:] == 0).all()
    assert (Tagging().count(none), float(Tagging().loss(model, none).detach())) == (0, 0.0)


def test_it_learns_tags_that_hang_on_the_token_before():
    model = tiny(far=False, layers=1, head="tag", labels=3, label_names=NAMES)
    examples = drawn(160)
    held_out = drawn(200).batch(np.arange(160, 200), [])
    learn(model, Tagging(), examples, steps=120, rows=32, rate=1e-2)
    said = examined(model, Tagging(), held_out)
    assert said["accuracy"] > 0.95
    assert said["f1"] > 0.9
