"""The sentence classifier: any width, a loss, and segment ids that matter for pairs (docs/errata.md)."""

import pytest
import torch
import torch.nn.functional as F

from hanlin.model.config import CoreConfig
from hanlin.model.encoder import Encoder

CLS, SEP, V = 1, 2, 16


def classifier(width=32, **settings):
    torch.manual_seed(0)
    shape = {"style": "bert", "head": "classify", "labels": 2, "vocab_size": V, "window": 16, "layers": 1}
    return Encoder(CoreConfig.model_validate({**shape, "width": width, **settings}))


def pairs(rows, seed):
    """[CLS] a b [SEP] c d [SEP] with the separator hidden: is the marked word 7 in the first or second half?

    Which words belong to the first sentence is told by the segment ids alone: its length varies.
    """
    random = torch.Generator().manual_seed(seed)
    words = torch.randint(8, V, (rows, 8), generator=random)
    cut = torch.randint(2, 7, (rows,), generator=random)
    place = torch.randint(0, 8, (rows,), generator=random)
    words[torch.arange(rows), place] = 7
    segments = (torch.arange(8) >= cut[:, None]).long()
    labels = (place >= cut).long()
    tokens = F.pad(words, (1, 0), value=CLS)
    return tokens, F.pad(segments, (1, 0)), labels


@pytest.mark.parametrize("width", [12, 20, 32])
def test_e35_a_classifier_of_any_width_has_scores_and_a_loss(width):
    model = classifier(width)
    tokens, segments, labels = pairs(6, seed=0)
    scores = model(tokens, segments_BT=segments)
    assert scores.shape == (6, 2)
    F.cross_entropy(scores, labels).backward()
    assert model.pooler.dense.weight.grad.abs().sum() > 0
    assert model.pooler.dense.weight.shape == (width, width)


def accuracy(keep_segments):
    model = classifier()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(250):
        tokens, segments, labels = pairs(64, seed=step)
        scores = model(tokens, segments_BT=segments if keep_segments else None)
        F.cross_entropy(scores, labels).backward()
        optimizer.step()
        optimizer.zero_grad()
    tokens, segments, labels = pairs(500, seed=10_000)
    with torch.no_grad():
        found = model.eval()(tokens, segments_BT=segments if keep_segments else None).argmax(-1)
    return (found == labels).float().mean().item()


def test_e36_a_pair_task_needs_its_segment_ids():
    assert accuracy(keep_segments=True) > 0.95
    assert accuracy(keep_segments=False) < 0.85
