"""Losses, optimisers and data: the wrong formula fails where ours holds (docs/errata.md)."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hanlin.base.device import Compute
from hanlin.batches.batch import IGNORE, Batch
from hanlin.batches.masking import Masking
from hanlin.corpus.function_words import FunctionWords
from hanlin.evaluate.perplexity import HeldOut, score
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from hanlin.model.encoder import Encoder
from hanlin.objective.causal import Causal
from hanlin.trainer.config import PretrainConfig
from hanlin.trainer.learner import Learner
from hanlin.trainer.optimizer import build_optimizers
from hanlin.trainer.step import training_step

CPU = Compute(torch.device("cpu"), torch.float32)


def tiny(**settings):
    torch.manual_seed(0)
    return Decoder(
        CoreConfig.model_validate({"vocab_size": 20, "width": 16, "window": 16, "layers": 1, **settings})
    )


def batch(rows=4):
    random = torch.Generator().manual_seed(3)
    tokens = torch.randint(20, (rows, 9), generator=random)
    targets = tokens[:, 1:].clone()
    targets[0, 3:] = -100
    return Batch(tokens[:, :-1], targets)


@pytest.mark.parametrize(("probability", "perplexity"), [(1 / 1000, 1000.0), (0.9, 1 / 0.9)])
def test_e01_perplexity_is_the_inverse_geometric_mean(probability, perplexity):
    N = 20
    scores = score(
        lambda documents: [np.full(len(ids), math.log(probability)) for ids in documents],
        [HeldOut("x" * (N - 1), list(range(N - 1)))],
        eos_id=0,
    )
    ours = math.exp(scores.nll_D.sum() / scores.tokens_D.sum())
    assert ours == pytest.approx(perplexity)
    assert ours >= 1
    wrong = 1 / sum([probability] * N)
    assert wrong == pytest.approx(50 if probability < 0.5 else 1 / 18)  # not 1000; below 1, which can not be


def test_e02_the_first_step_of_adam_has_the_size_of_the_learning_rate():
    weight = torch.nn.Parameter(torch.tensor([3.0, -2.0]))
    optimizer = torch.optim.AdamW([weight], lr=0.01, betas=(0.9, 0.999), weight_decay=0.0, fused=True)
    gradient = torch.tensor([5.0, -0.003])
    weight.grad = gradient.clone()
    before = weight.detach().clone()
    optimizer.step()
    torch.testing.assert_close(before - weight.detach(), 0.01 * gradient.sign(), rtol=1e-3, atol=0)
    wrong = 0.01 * (0.1 * gradient) / (0.001 * gradient**2).sqrt()
    torch.testing.assert_close(wrong / (0.01 * gradient.sign()), torch.full((2,), math.sqrt(10)))
    groups = build_optimizers(tiny(), PretrainConfig(steps=10, warmup=1))
    assert isinstance(groups[0], torch.optim.AdamW)  # it is this optimiser that trains


def test_e04_a_step_goes_down_hill():
    model, rows = tiny(), batch()

    def loss():
        with torch.no_grad():
            return float(Causal().loss(model, rows))

    def step(sign):
        Causal().loss(model, rows).backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(sign * 1e-3 * parameter.grad)
                parameter.grad = None

    start = loss()
    step(+1)  # the sign that is sometimes printed
    assert loss() > start
    step(-1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    before = loss()
    training_step(
        Learner(model), Causal(), [optimizer], rows, CPU, micro_rows=2, clip=1e9, on_nonfinite="stop"
    )
    assert loss() < before


def test_e14_the_loss_sums_over_classes_and_averages_over_counted_tokens():
    model, rows = tiny(), batch()
    with torch.no_grad():
        term = Causal().loss(model, rows)
        probabilities = model(rows.tokens_BT).softmax(-1)
        counted = rows.targets_BT != -100
        one_hot = F.one_hot(rows.targets_BT.clamp(min=0), 20)
        by_hand = -(one_hot * probabilities.log()).sum(-1)[counted]
        assert Causal().count(rows) == int(counted.sum()) < counted.numel()
        assert float(term) == pytest.approx(float(by_hand.sum()), rel=1e-5)
        padded = Batch(F.pad(rows.tokens_BT, (0, 4)), F.pad(rows.targets_BT, (0, 4), value=-100))
        again = Causal().loss(model, padded)
        assert float(again) / Causal().count(padded) == pytest.approx(
            float(term) / Causal().count(rows), rel=1e-6
        )
        wrong = [float(F.cross_entropy(model(b.tokens_BT).flatten(0, 1), b.targets_BT.clamp(min=0).flatten()))
                 for b in (rows, padded)]  # fmt: skip
        assert abs(wrong[0] - wrong[1]) > 1e-3  # a mean over all places changes with padding


def test_e15_accumulated_gradients_are_those_of_the_large_batch():
    gradients = {}
    for name, scale in (("whole", None), ("parts by count", "count"), ("parts by mean", "mean")):
        model, rows = tiny(), batch()
        total = Causal().count(rows)
        for part in [rows] if scale is None else rows.split(1):
            term = Causal().loss(model, part)
            (term / (total if scale != "mean" else Causal().count(part) * rows.rows)).backward()
        gradients[name] = model.head.weight.grad.clone()
    torch.testing.assert_close(gradients["parts by count"], gradients["whole"], atol=1e-6, rtol=1e-4)
    assert (gradients["parts by mean"] - gradients["whole"]).abs().max() > 1e-4


def test_e17_a_text_without_stop_words_is_noticed():
    text = "the scholar of the hall is in the library and reads a book to the end " * 2000
    whole, stripped = FunctionWords(), FunctionWords()
    whole.add(text)
    stripped.add(" ".join(word for word in text.split() if len(word) > 4))
    assert whole.warnings() == []
    assert "were stop words removed?" in stripped.warnings()[0].en


def test_e18_masking_keeps_every_place():
    tokens = torch.randint(10, 500, (50, 64), generator=torch.Generator().manual_seed(0))
    masking = Masking(mask_id=3, vocab_size=500, special_ids=frozenset({0, 1, 2, 3}))
    rows = [masking(row, np.random.default_rng(seed)) for seed, row in enumerate(tokens.numpy())]
    inputs, targets = (torch.from_numpy(np.stack(side)) for side in zip(*rows, strict=True))
    chosen = targets != IGNORE
    assert inputs.shape == tokens.shape
    assert chosen.float().mean().item() == pytest.approx(0.15, abs=0.01)
    removed = [row[~flags] for row, flags in zip(tokens, chosen, strict=True)]  # the "remaining" sequence
    assert all(len(row) < 64 for row in removed)  # shorter: the places of the answers are lost
    assert torch.equal(torch.where(chosen, targets, inputs), tokens)


def test_e19_no_prediction_sees_another_answer():
    """Two places are asked for; what stands behind one must not reach the prediction of the other."""
    torch.manual_seed(0)
    model = Encoder(
        CoreConfig.model_validate({"style": "bert", "vocab_size": 20, "width": 16, "window": 16})
    ).eval()
    text = torch.tensor([[5, 6, 7, 8, 9]])
    other = torch.tensor([[5, 6, 11, 8, 9]])
    with torch.no_grad():
        for texts, leaks in (([text, other], False), ([text, other], True)):
            hidden = [row.clone() for row in texts]
            for row in hidden:
                row[0, 1] = 3
                if not leaks:
                    row[0, 2] = 3  # ours: every chosen place is hidden at once
            first, second = (model(row)[0, 1] for row in hidden)
            assert torch.equal(first, second) != leaks
