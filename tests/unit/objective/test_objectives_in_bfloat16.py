"""Under autocast every loss is still float32, near the one without, and has a gradient."""

import numpy as np
import pytest
import torch

from finetuning import tiny
from hanlin.base.device import Compute
from hanlin.batches.labelled import LabelledBatch
from hanlin.batches.prompted import PromptedBatch
from hanlin.batches.ragged import lay_batch, lay_inputs
from hanlin.batches.views import TextPairs
from hanlin.objective.classification import Classification, MultiLabel
from hanlin.objective.contrastive import Contrastive
from hanlin.objective.distillation import ClassDistillation, Distillation
from hanlin.objective.prompt import PromptChoice
from hanlin.objective.regression import Regression
from hanlin.objective.student import Student
from hanlin.objective.tagging import Tagging

HALF = Compute(torch.device("cpu"), torch.bfloat16)
TEXTS = [[5, 6, 7, 8], [9, 10], [11, 12, 13]]
INPUTS = lay_inputs(TEXTS, "packed", 0)
TOKENS = lay_batch(TEXTS, [[1, 2, 0, -100], [2, 1], [0, 1, 2]], "packed", 0)
CLASSES = LabelledBatch(INPUTS, torch.tensor([0, 1, 2]))
PROMPTED = PromptedBatch(
    torch.tensor(TEXTS[:1]).unsqueeze(0), torch.tensor([[[3], [3]]]), torch.tensor([[[5], [6]]]), torch.tensor([1])
)  # fmt: skip


def cases():
    classify, teacher = {"head": "classify", "labels": 3}, tiny("llama", width=8, seed=1)
    yield Classification(), tiny(**classify), CLASSES
    yield MultiLabel(), tiny(**classify), LabelledBatch(INPUTS, torch.eye(3, dtype=torch.int64))
    yield Regression(), tiny(head="regress"), LabelledBatch(INPUTS, torch.tensor([0.5, 1.0, -1.0]))
    yield Tagging(), tiny(head="tag", labels=3), TOKENS
    pairs = TextPairs(TEXTS, TEXTS[::-1], pad_id=0).batch(np.arange(3), [])
    yield Contrastive(micro_rows=2), tiny(head="none", pooling="mean"), pairs
    yield PromptChoice(), tiny("llama"), PROMPTED
    yield Distillation(teacher, hard=0.5, hidden=1.0), Student(tiny("llama"), teacher), TOKENS
    yield ClassDistillation(tiny(**classify, seed=1), hard=0.5), tiny(**classify), CLASSES


@pytest.mark.parametrize(("objective", "model", "batch"), list(cases()), ids=lambda case: type(case).__name__)
def test_losses_stay_float32_and_near(objective, model, batch):
    exact = objective.loss(model, batch).detach()
    with HALF.autocast():
        loss = objective.loss(model, batch)
    loss.backward()
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.detach(), exact, rtol=0.05, atol=0.05)
    assert not torch.equal(loss.detach(), exact)  # else nothing ran in the other format
    slopes = [p.grad for p in model.parameters() if p.grad is not None]
    assert sum(float(slope.abs().sum()) for slope in slopes) > 0
    assert all(slope.isfinite().all() for slope in slopes)
