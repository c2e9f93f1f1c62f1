"""What a model ends in: shapes, pooling, poolers, and classifiers that learn what they must."""

import pytest
import torch
import torch.nn.functional as F

from hanlin.model.assemble import build_model
from hanlin.model.config import CoreConfig
from hanlin.model.encoder import Encoder
from hanlin.model.heads import pool

HIDDEN_BTC = torch.arange(24.0).view(2, 4, 3)


def bert(**settings):
    shape = {
        "style": "bert",
        "vocab_size": 20,
        "width": 16,
        "layers": 2,
        "heads": 2,
        "ffn_width": 32,
        "window": 12,
    }
    torch.manual_seed(0)
    return build_model(CoreConfig.model_validate({**shape, **settings}))


# Pooling.


@pytest.mark.parametrize(
    ("documents", "first", "mean", "last"),
    [
        (None, 0, [0, 1, 2, 3], 3),
        ([0, 0, -1, -1], 0, [0, 1], 1),
        ([-1, -1, 0, 0], 2, [2, 3], 3),
        ([-1, 0, -1, -1], 1, [1], 1),
    ],
)
def test_padding_on_either_side_is_not_pooled(documents, first, mean, last):
    documents_BT = None if documents is None else torch.tensor([documents] * 2)
    assert torch.equal(pool(HIDDEN_BTC, "first", documents_BT), HIDDEN_BTC[:, first])
    assert torch.equal(pool(HIDDEN_BTC, "mean", documents_BT), HIDDEN_BTC[:, mean].mean(1))
    assert torch.equal(pool(HIDDEN_BTC, "last", documents_BT), HIDDEN_BTC[:, last])


def test_rows_of_a_batch_are_pooled_each_by_its_own_padding():
    documents_BT = torch.tensor([[0, 0, 0, -1], [-1, 0, 0, 0]])
    expected_BC = torch.stack((HIDDEN_BTC[0, :3].mean(0), HIDDEN_BTC[1, 1:].mean(0)))
    assert torch.equal(pool(HIDDEN_BTC, "mean", documents_BT), expected_BC)


# Shapes.


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        ({}, (3, 5, 20)),
        ({"head": "pretraining"}, (3, 5, 20)),
        ({"head": "none"}, (3, 5, 16)),
        ({"head": "classify", "labels": 7}, (3, 7)),
        ({"head": "tag", "labels": 7}, (3, 5, 7)),
        ({"head": "tag", "labels": 7, "pooler": "transform"}, (3, 5, 7)),
        ({"head": "regress"}, (3,)),
        ({"style": "llama", "head": "classify", "labels": 7}, (3, 7)),
        ({"style": "llama", "head": "regress"}, (3,)),
    ],
)
def test_shapes(settings, shape):
    assert bert(**settings)(torch.ones(3, 5, dtype=torch.long)).shape == shape


def test_a_pooled_classifier_is_what_it_says():
    """pooled -> dropout -> linear, by hand; while training, the dropout is there."""
    model = bert(head="classify", labels=3, dropout=0.1)
    tokens_BT = torch.randint(20, (4, 6))
    model.eval()
    hidden_BTC = model.hidden(tokens_BT)
    pooled_BC = torch.tanh(F.linear(hidden_BTC[:, 0], model.pooler.dense.weight, model.pooler.dense.bias))
    torch.testing.assert_close(model(tokens_BT), F.linear(pooled_BC, model.head.weight, model.head.bias))
    assert model.output_dropout.p == 0.1
    model.output_dropout.train()
    assert not torch.equal(model(tokens_BT), model(tokens_BT))


def test_a_tagger_with_a_transform_transforms_every_token():
    model = bert(head="tag", labels=3, pooler="transform").eval()
    tokens_BT = torch.randint(20, (4, 6))
    expected = model.head(model.pooler(model.hidden(tokens_BT)))
    torch.testing.assert_close(model(tokens_BT), expected)


def test_the_pretraining_head_judges_pairs_by_their_first_token():
    model = bert(head="pretraining").eval()
    hidden_BTC = model.hidden(torch.randint(20, (4, 6)))
    scores_B2 = model.next_sentence_logits(hidden_BTC)
    assert scores_B2.shape == (4, 2)
    torch.testing.assert_close(scores_B2, model.next_sentence(model.pooled(hidden_BTC)))
    shifted = model.next_sentence_logits(hidden_BTC.roll(1, 1), torch.tensor([[-1, 0, 0, 0, 0, 0]] * 4))
    torch.testing.assert_close(shifted, scores_B2)


# Settings that contradict one another.


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"head": "classify"}, "needs labels"),
        ({"head": "classify", "labels": 3, "label_names": ("a", "b")}, "are not as many as labels 3"),
        ({"head": "regress", "label_names": ("a", "b")}, "are not as many"),
        ({"head": "tag", "labels": 2, "multi_label": True}, "multi_label needs head classify"),
        ({"head": "lm"}, "does not fit assembly encoder"),
    ],
)
def test_a_head_that_cannot_be_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        bert(**settings)


def test_label_names_say_how_many_labels_there_are():
    assert bert(head="classify", label_names=("a", "b", "c")).config.labels == 3


# Learning.


def train(model, batches, steps):
    """Cross-entropy on fresh batches; returns the share that the trained model gets right."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(steps):
        inputs, labels_B, segments_BT = batches(step)
        loss = F.cross_entropy(model(inputs, segments_BT=segments_BT), labels_B)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    inputs, labels_B, segments_BT = batches(10_000)
    with torch.no_grad():
        return float((model.eval()(inputs, segments_BT=segments_BT).argmax(-1) == labels_B).float().mean())


def contains_a_three(step):
    """Label 1 for rows in which token 3 stands somewhere."""
    generator = torch.Generator().manual_seed(step)
    tokens_BT = torch.randint(4, 20, (64, 8), generator=generator)
    labels_B = torch.randint(2, (64,), generator=generator)
    places_B = torch.randint(1, 8, (64,), generator=generator)
    tokens_BT[torch.arange(64), places_B] = torch.where(
        labels_B == 1, 3, tokens_BT[torch.arange(64), places_B]
    )
    tokens_BT[:, 0] = 1
    return tokens_BT, labels_B, None


@pytest.mark.parametrize("width", [16, 24])
def test_a_classifier_learns(width):
    model = bert(head="classify", labels=2, width=width, layers=1)
    assert isinstance(model, Encoder)
    assert train(model, contains_a_three, 60) > 0.95


def pairs(step):
    """Token 3 stands in the first sentence (label 0) or in the second (label 1). No token separates the two, and the
    first ends anywhere: only segments tell where. Knowing the place p of token 3 alone, P(label 1) = (p - 1) / 6, so
    that the best guess is right in 79 % of rows."""
    generator = torch.Generator().manual_seed(step)
    tokens_BT = torch.randint(4, 20, (256, 8), generator=generator)
    tokens_BT[:, 0] = 1
    ends_B = torch.randint(1, 7, (256,), generator=generator)
    places_B = torch.randint(1, 8, (256,), generator=generator)
    tokens_BT[torch.arange(256), places_B] = 3
    return tokens_BT, (places_B > ends_B).long(), (torch.arange(8) > ends_B[:, None]).long()


def without_segments(step):
    tokens_BT, labels_B, _ = pairs(step)
    return tokens_BT, labels_B, None


def test_a_pair_task_needs_segments():
    with_them = train(bert(head="classify", labels=2, layers=1), pairs, 150)
    without = train(bert(head="classify", labels=2, layers=1), without_segments, 150)
    assert with_them > 0.95
    assert 0.7 < without < 0.87
