"""Classes, labels and numbers of texts and pairs: known answers, one loss for both layouts, tasks that must be learned."""

import math

import numpy as np
import pytest
import torch

from finetuning import V, every_row, examined, gradients, learn, same, tiny
from hanlin.base.errors import ConfigError, DataError
from hanlin.batches.batch import IGNORE
from hanlin.batches.labelled import LabelledBatch, LabelledTexts
from hanlin.batches.labels import balanced_weights, class_labels, label_sets, numbers
from hanlin.batches.ragged import lay_inputs
from hanlin.objective.classification import Classification, MultiLabel
from hanlin.objective.judged import judgements
from hanlin.objective.regression import Regression
from hanlin.tokenizer.framing import Encoding

CLASSIFY = {"head": "classify", "labels": 3}


def texts(count, seed=0, low=2, high=12):
    draw = np.random.default_rng(seed)
    return [draw.integers(4, V, draw.integers(low, high)).tolist() for _ in range(count)]


def encoded(texts, segments=None):
    segments = [[0] * len(ids) for ids in texts] if segments is None else segments
    return [Encoding(ids, kinds, [0] * len(ids), 0) for ids, kinds in zip(texts, segments, strict=True)]


def examples(labels, layout="packed", seed=0, **kwargs):
    return LabelledTexts(encoded(texts(len(labels), seed)), labels, 0, layout, **kwargs)


def saying(scores):
    """A model whose head says these scores, whatever it reads; and a batch of as many texts."""
    model = tiny(head="classify", labels=len(scores[0]))
    model.head = torch.nn.Identity()
    model.pooled = lambda hidden, documents=None: torch.tensor(scores)
    return model, lay_inputs([[5, 6]] * len(scores), "padded", 0)


def test_cross_entropy_by_hand_with_weights_and_smoothing():
    model, inputs = saying([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 5.0]])
    batch = LabelledBatch(inputs, torch.tensor([0, 2, IGNORE]))
    first = math.log(math.e**2 + 2) - 2
    second = math.log(math.e + 2)
    assert Classification().count(batch) == 2
    assert float(Classification().loss(model, batch)) == pytest.approx(first + second, abs=1e-5)
    weighted = Classification(weights=[3.0, 1.0, 0.5])
    assert float(weighted.loss(model, batch)) == pytest.approx(3 * first + 0.5 * second, abs=1e-5)
    smooth = Classification(label_smoothing=0.3)
    assert float(smooth.loss(model, batch)) == pytest.approx(first + second, abs=1e-5)  # not in evaluation
    mean_1, mean_2 = math.log(math.e**2 + 2) - 2 / 3, math.log(math.e + 2) - 1 / 3
    expected = 0.7 * (first + second) + 0.3 * (mean_1 + mean_2)
    assert float(smooth.loss(model.train(), batch)) == pytest.approx(expected, abs=1e-5)


def test_examination_by_hand():
    model, inputs = saying([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 5.0], [9.0, 0.0, 0.0]])
    batch = LabelledBatch(inputs, torch.tensor([0, 2, 2, IGNORE]))
    said = Classification().examine(model, batch)
    assert said["accuracy"] == (2, 3)
    # Class 0: found once rightly. 1: once wrongly. 2: once rightly, once missed: 2 x 1 / (2 + 0 + 1).
    assert (said["f1.0"], said["f1.1"], said["f1.2"]) == ((2, 2), (0, 1), (2, 3))


def test_multi_label_by_hand():
    model, inputs = saying([[1.0, -2.0], [0.0, 3.0]])
    batch = LabelledBatch(inputs, torch.tensor([[1, 0], [1, 0]]))

    def sigmoid(z):
        return 1 / (1 + math.exp(-z))

    first = [-math.log(sigmoid(1)), -math.log(1 - sigmoid(-2))]
    second = [-math.log(0.5), -math.log(1 - sigmoid(3))]
    assert MultiLabel().count(batch) == 4
    assert float(MultiLabel().loss(model, batch)) == pytest.approx(sum(first + second), abs=1e-5)
    weighted = float(MultiLabel(weights=[2.0, 9.0]).loss(model, batch))
    assert weighted == pytest.approx(sum(first + second) + first[0] + second[0], abs=1e-5)
    said = MultiLabel().examine(model, batch)
    assert said["accuracy"] == (2, 4)  # of 0.0 the model says no
    assert (said["f1"], said["f1.0"], said["f1.1"]) == ((2, 4), (2, 3), (0, 1))


def test_squared_error_by_hand():
    model, inputs = saying([[0.5], [2.0]])
    model.config = model.config.model_copy(update={"head": "regress"})
    batch = LabelledBatch(inputs, torch.tensor([1.0, -1.0]))
    assert float(Regression().loss(model, batch)) == pytest.approx(0.25 + 9)
    assert Regression().examine(model, batch) == {
        "loss": (pytest.approx(9.25), 2),
        "absolute_error": (pytest.approx(3.5), 2),
    }


@pytest.mark.parametrize(("style", "pooling"), [("bert", "first"), ("llama", "last"), ("bert", "mean")])
@pytest.mark.parametrize("kind", ["classify", "multi", "regress"])
def test_padded_packed_and_split_are_one(kind, style, pooling):
    draw = np.random.default_rng(1)
    heads = {"classify": CLASSIFY, "multi": {**CLASSIFY, "multi_label": True}, "regress": {"head": "regress"}}
    objective = {"classify": Classification([1.0, 2.0, 3.0]), "multi": MultiLabel(), "regress": Regression()}[
        kind
    ]
    labels = {
        "classify": draw.integers(3, size=7),
        "multi": draw.integers(2, size=(7, 3)),
        "regress": draw.normal(size=7).astype(np.float32),
    }[kind]
    model = tiny(style, pooling=pooling, **heads[kind])
    padded, packed = (every_row(examples(labels, layout)) for layout in ("padded", "packed"))
    whole = gradients(model, objective, [padded])
    same(whole, gradients(model, objective, [packed]))
    same(whole, gradients(model, objective, packed.split(3)))
    same(whole, gradients(model, objective, [every_row(examples(labels), [row]) for row in range(7)]))


@pytest.mark.parametrize("layout", ["padded", "packed"])
def test_a_text_is_judged_by_its_own_tokens(layout):
    model = tiny(**CLASSIFY)
    three = texts(3)
    before = judgements(model, lay_inputs(three, layout, 0), "classify")
    three[1] = [5, 6, 7]
    after = judgements(model, lay_inputs(three, layout, 0), "classify")
    torch.testing.assert_close(before[[0, 2]], after[[0, 2]], atol=1e-6, rtol=0)
    assert (before[1] - after[1]).abs().max() > 1e-3


@pytest.mark.parametrize("layout", ["padded", "packed"])
def test_segments_reach_the_model(layout):
    pairs = texts(4)
    labels = np.array([0, 1, 2, 0])
    kinds = [[0] + [1] * (len(ids) - 1) for ids in pairs]
    model = tiny(**CLASSIFY)
    with_segments, without = (LabelledTexts(encoded(pairs, s), labels, 0, layout) for s in (kinds, None))
    difference = judgements(model, every_row(with_segments).inputs, "classify") - judgements(
        model, every_row(without).inputs, "classify"
    )
    assert difference.abs().max() > 1e-2
    assert every_row(without).inputs.segments_BT is None


def test_it_learns_a_class_and_is_examined_on_other_texts():
    """The class of a text is which of the tokens 4, 5, 6 stands somewhere in it."""
    draw = np.random.default_rng(0)
    rows, classes = [], draw.integers(3, size=320)
    for kind in classes:
        ids = draw.integers(7, V, draw.integers(3, 8))
        ids[draw.integers(len(ids))] = 4 + kind
        rows.append([2, *ids.tolist()])
    model = tiny(far=False, layers=1, pooling="mean", **CLASSIFY)
    train = LabelledTexts(encoded(rows[:240]), class_labels(classes[:240].tolist(), 3), 0)
    held_out = LabelledTexts(encoded(rows[240:]), class_labels(classes[240:].tolist(), 3), 0)
    losses = learn(model, Classification(), train, steps=80, rows=32, rate=1e-2)
    assert losses[0] == pytest.approx(math.log(3), abs=0.2)
    said = examined(model, Classification(), every_row(held_out))
    assert min(said["accuracy"], said["f1.0"], said["f1.2"]) > 0.9


def test_it_learns_which_of_two_texts_a_token_is_of_by_segments_alone():
    """Where one text ends and the other begins only segments tell."""
    draw = np.random.default_rng(0)
    rows, kinds, classes = [], [], []
    for _ in range(200):
        ids, border, place = draw.integers(5, V, 8), draw.integers(2, 7), draw.integers(1, 8)
        ids[place] = 4
        rows.append(ids.tolist())
        kinds.append([int(t >= border) for t in range(8)])
        classes.append(int(place >= border))
    accuracies = {}
    for name, segments in (("with", kinds), ("without", None)):
        model = tiny(far=False, layers=1, head="classify", labels=2, pooling="mean")
        train = LabelledTexts(encoded(rows, segments), class_labels(classes, 2), 0)
        learn(model, Classification(), train, steps=60, rows=32, rate=2e-2)
        accuracies[name] = examined(model, Classification(), every_row(train))["accuracy"]
    assert accuracies["with"] > 0.95 > 0.9 > accuracies["without"]


def test_it_learns_several_labels_and_a_number():
    rows = texts(160)
    there = np.array([[int(token in ids) for token in (4, 5, 6)] for ids in rows])
    model = tiny(
        far=False, layers=1, **CLASSIFY, multi_label=True, pooling="mean", label_names=["a", "b", "c"]
    )
    train = LabelledTexts(encoded(rows), there, 0)
    learn(model, MultiLabel(), train, steps=150, rows=32, rate=2e-2)
    said = examined(model, MultiLabel(), every_row(train))
    assert min(said["f1"], said["f1.a"]) > 0.9
    shares = np.array([float(np.mean([token == 4 for token in ids])) * 4 for ids in rows])
    regressor = tiny(far=False, layers=1, head="regress", pooling="mean")
    train = LabelledTexts(encoded(rows), numbers(shares.tolist()), 0)
    learn(regressor, Regression(), train, steps=60, rows=32, rate=2e-2)
    assert examined(regressor, Regression(), every_row(train))["loss"] < 0.2 * shares.var()


def test_balanced_weights_by_hand():
    labels = np.array([0, 0, 0, 1, IGNORE])
    assert balanced_weights(labels, 2).tolist() == pytest.approx([4 / 6, 2])
    assert balanced_weights(labels, 3).tolist() == pytest.approx([4 / 6, 2, 0])
    assert np.mean(balanced_weights(labels, 2)[labels[:4]]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: class_labels([0, 1, 3], 3, ["a:1", "a:2", "a:9"]), "Record a:9 has the label 3"),
        (lambda: class_labels([0, -1], 2), "#2 has the label -1"),
        (lambda: class_labels([1, None, 1], 2), "only the label 1"),
        (lambda: class_labels([None], 2), "no label"),
        (lambda: label_sets([[0], [2]], 2, ["x", "y"]), "Record y has the label 2"),
        (lambda: numbers([0.0, math.nan], ["x", "y"]), "Record y has the target nan"),
        (lambda: numbers([1e60]), "#1 has the target 1e"),
    ],
)
def test_wrong_labels_are_refused_by_name(make, message):
    with pytest.raises(DataError, match=message):
        make()


def test_labels_as_arrays():
    assert class_labels([1, None, 0], 2).tolist() == [1, IGNORE, 0]
    assert label_sets([[2, 0], []], 3).tolist() == [[1, 0, 1], [0, 0, 0]]


def test_an_objective_that_does_not_fit_says_which_models_do():
    batch = every_row(examples(np.array([0, 1, 2])))
    for objective, model, fitting in (
        (Classification(), tiny(), "classify"),
        (Regression(), tiny(**CLASSIFY), "regress"),
    ):
        with pytest.raises(ConfigError, match=f"does not fit a model of head.*\n.*head {fitting}"):
            objective.loss(model, batch)
