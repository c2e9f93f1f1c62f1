"""Where answers begin and end, and labels of which several hold: by hand, in both layouts, and learned."""

import math

import numpy as np
import pytest
import torch

from finetuning import examined, gradients, learn, same, tiny
from hanlin.base.errors import ConfigError
from hanlin.batches.answer_spans import BEGINS, ENDS, OPEN
from hanlin.batches.batch import IGNORE
from hanlin.batches.loader import Examples
from hanlin.batches.ragged import lay_batch
from hanlin.objective.nested_tagging import NestedTagging
from hanlin.objective.span_answer import SpanAnswer


def saying(head, scores, **settings):
    """A model that gives these scores, whatever it reads."""
    model = tiny(head=head, **settings)
    model.head = torch.nn.Identity()
    model.output_dropout = torch.nn.Identity()
    model.hidden = lambda *arguments, **named: torch.tensor(scores)
    return model


def test_the_loss_of_a_span_by_hand():
    targets = [[IGNORE, OPEN, BEGINS, ENDS, IGNORE]]
    batch = lay_batch([[5, 6, 7, 8, 9]], targets, "padded", 0)
    scores = [[[9.0, 9.0], [1.0, 0.0], [2.0, 0.5], [0.0, 3.0], [9.0, 9.0]]]
    begin = math.log(math.e + math.e**2 + 1) - 2
    end = math.log(1 + math.e**0.5 + math.e**3) - 3
    model = saying("span", scores)
    assert float(SpanAnswer().loss(model, batch)) == pytest.approx((begin + end) / 2, abs=1e-5)
    assert SpanAnswer().count(batch) == 1
    assert SpanAnswer().examine(model, batch)["accuracy"] == (1, 1)
    one = lay_batch([[5, 6, 7, 8, 9]], [[IGNORE, BEGINS + ENDS, OPEN, OPEN, IGNORE]], "padded", 0)
    assert SpanAnswer().examine(model, one)["accuracy"] == (0, 1)


class Spans(Examples):
    """The answer is the stretch of tokens below 8."""

    def __init__(self, count, layout="packed"):
        draw = np.random.default_rng(0)
        self.layout, self.texts, self.targets = layout, [], []
        for _ in range(count):
            before, inside, after = draw.integers(1, 5, 3)
            text = [
                1,
                *draw.integers(8, 20, before),
                *draw.integers(4, 8, inside),
                *draw.integers(8, 20, after),
            ]
            targets = [IGNORE] + [OPEN] * (len(text) - 1)
            targets[1 + before] += BEGINS
            targets[before + inside] += ENDS
            self.texts.append([int(token) for token in text])
            self.targets.append(targets)

    def __len__(self):
        return len(self.texts)

    def batch(self, rows, seeds):
        return lay_batch([self.texts[r] for r in rows], [self.targets[r] for r in rows], self.layout, 0)


def test_padded_packed_and_split_are_one():
    model = tiny(head="span")
    padded, packed = (Spans(7, layout).batch(np.arange(7), []) for layout in ("padded", "packed"))
    whole = gradients(model, SpanAnswer(), [padded])
    same(whole, gradients(model, SpanAnswer(), [packed]))
    same(whole, gradients(model, SpanAnswer(), packed.split(2)))
    assert SpanAnswer().count(packed) == SpanAnswer().count(padded) == 7


def test_spans_are_learned():
    model = tiny(far=False, layers=1, head="span")
    learn(model, SpanAnswer(), Spans(128), steps=90, rows=16, rate=1e-2)
    assert examined(model, SpanAnswer(), Spans(160).batch(np.arange(128, 160), []))["accuracy"] > 0.85


def test_another_head_is_refused():
    with pytest.raises(ConfigError, match="head span"):
        SpanAnswer().loss(tiny(head="tag", labels=2), Spans(2).batch(np.arange(2), []))


def test_the_loss_of_labels_that_hold_together_by_hand():
    holds = np.array([[1, 0, 1], [0, 0, 0], [IGNORE] * 3], np.int8)
    batch = lay_batch([[5, 6, 7]], [holds], "padded", 0)
    scores = [[[2.0, -1.0, 0.5], [0.3, -0.2, 0.1], [9.0, 9.0, 9.0]]]
    first = math.log(1 + math.exp(-1.0)) + math.log(1 + math.exp(-2.0) + math.exp(-0.5))
    second = math.log(1 + math.exp(0.3) + math.exp(-0.2) + math.exp(0.1))
    model = saying("tag", scores, labels=3)
    assert float(NestedTagging().loss(model, batch)) == pytest.approx(first + second, abs=1e-5)
    assert NestedTagging().count(batch) == 2
    assert NestedTagging().examine(model, batch)["f1"] == (4, 6)  # 2 right, 2 wrong, 0 missed


def test_gradients_of_labels_are_finite_and_the_same_in_both_layouts():
    draw, model = np.random.default_rng(0), tiny(head="tag", labels=3)
    texts = [draw.integers(4, 14, size).tolist() for size in (3, 6, 1)]
    targets = [draw.integers(0, 2, (len(text), 3)).astype(np.int8) for text in texts]
    padded, packed = (lay_batch(texts, targets, layout, 0) for layout in ("padded", "packed"))
    whole = gradients(model, NestedTagging(), [padded])
    assert all(gradient.isfinite().all() for gradient in whole[1].values())
    same(whole, gradients(model, NestedTagging(), packed.split(1)))
