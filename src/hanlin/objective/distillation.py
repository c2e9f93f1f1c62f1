"""Distillation: a student learns what its teacher thinks likely, at every prediction.

L = sum_t [ (1 - a) tau^2 KL(p_T || p_S) + a (- log P_S(x_t)) + b d(W h_S, h_T) ], p the softmax of logits / tau. The
factor tau^2 keeps the gradient's scale, which falls with 1 / tau^2. Sources: arXiv 1503.02531, section 2 (soft targets);
hidden states h with d = 1 - cosine as in arXiv 1910.01108, section 2, or the mean square as in arXiv 1909.10351, eq. 8,
with its learned W where the widths differ.

B batch, T time, C width, V vocabulary, N counted predictions, n those of one chunk.
"""

from collections.abc import Iterator, Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hanlin.batches.batch import IGNORE, Batch
from hanlin.batches.labelled import LabelledBatch
from hanlin.model.headed import Headed
from hanlin.objective.cross_entropy import chunk_rows
from hanlin.objective.judged import judgements
from hanlin.objective.student import check_same_labels, check_same_size, check_same_width, student_of
from hanlin.objective.term import Objective, Ratio

Distance = Literal["cosine", "mse"]


def soft_loss(student_NV: Tensor, teacher_NV: Tensor, temperature: float) -> Tensor:
    """tau^2 sum_n KL(softmax(teacher_n / tau) || softmax(student_n / tau)): a scalar, in nats."""
    log_p_NV = F.log_softmax(teacher_NV / temperature, dim=-1)
    log_q_NV = F.log_softmax(student_NV / temperature, dim=-1)
    return temperature**2 * F.kl_div(log_q_NV, log_p_NV, reduction="sum", log_target=True)


class Distillation(Objective):
    """Of a causal or a masked language model, at the tokens that have a target; logits never stand whole in memory.

    teacher: of the same vocabulary; it is frozen, in evaluation mode, and no part of what is trained or saved. hard: the
    share a of the true targets. hidden: the weight b of hidden states, the last ones. What is trained is the student, or
    a `Student`, which has W. Raises `ConfigError` for another vocabulary, and for hidden states of another width without
    W.
    """

    def __init__(
        self,
        teacher: Headed,
        *,
        temperature: float = 2.0,
        hard: float = 0.0,
        hidden: float = 0.0,
        distance: Distance = "cosine",
    ) -> None:
        assert temperature > 0
        assert 0 <= hard <= 1
        assert hidden >= 0
        self.teacher = teacher.eval().requires_grad_(False)
        self.temperature, self.hard, self.hidden, self.distance = temperature, hard, hidden, distance

    def count(self, batch: Batch) -> int:
        """Number of targets that count."""
        return int((batch.targets_BT != IGNORE).sum())

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The loss summed over those targets, float32."""
        return self._loss(model, *self._states(model, batch))

    def examine(self, model: nn.Module, batch: Batch) -> Mapping[str, Ratio]:
        """The loss, and how often student and teacher hold the same token for the likeliest."""
        student_NC, teacher_NC, targets_N = self._states(model, batch)
        student, N = student_of(model)[0], len(targets_N)
        agreed = sum(
            int((student.logits(student_nC).argmax(-1) == self.teacher.logits(teacher_nC).argmax(-1)).sum())
            for student_nC, teacher_nC in _chunks(student, student_NC, teacher_NC)
        )
        return {
            "loss": (float(self._loss(model, student_NC, teacher_NC, targets_N)), N),
            "agreement": (agreed, N),
        }

    def _loss(self, model: nn.Module, student_NC: Tensor, teacher_NC: Tensor, targets_N: Tensor) -> Tensor:
        student, _ = student_of(model)

        def loss(student_nC: Tensor, teacher_nC: Tensor, targets_n: Tensor) -> Tensor:
            logits_nV = student.logits(student_nC)
            with torch.no_grad():
                teacher_nV = self.teacher.logits(teacher_nC)
            soft = soft_loss(logits_nV, teacher_nV, self.temperature)
            if not self.hard:
                return soft
            return torch.lerp(soft, F.cross_entropy(logits_nV, targets_n, reduction="sum"), self.hard)

        chunks = _chunks(student, student_NC, teacher_NC, targets_N)
        total = torch.stack([checkpoint(loss, *chunk, use_reentrant=False) for chunk in chunks]).sum()
        return total + self.hidden * self._distance(model, student_NC, teacher_NC) if self.hidden else total

    def _states(self, model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """The last hidden states of student and teacher at the places that count, and the targets there."""
        student, _ = student_of(model)
        check_same_size(student, self.teacher)
        counted_BT = batch.targets_BT != IGNORE
        student_BTC = _hidden(student, batch)
        with torch.no_grad():
            teacher_BTC = _hidden(self.teacher, batch)
        return student_BTC[counted_BT], teacher_BTC[counted_BT], batch.targets_BT[counted_BT]

    def _distance(self, model: nn.Module, student_NC: Tensor, teacher_NC: Tensor) -> Tensor:
        student, projection = student_of(model)
        if projection is not None:
            student_NC = projection(student_NC)
        else:
            check_same_width(student, self.teacher)
        student_NC, teacher_NC = student_NC.float(), teacher_NC.float()
        if self.distance == "cosine":
            return (1 - F.cosine_similarity(student_NC, teacher_NC, dim=-1)).sum()
        return (student_NC - teacher_NC).square().mean(-1).sum()


class ClassDistillation(Objective):
    """The same of a classifier's scores (B, K): soft targets of the teacher's classes, and the true ones by the share a.

    Texts without a class (`IGNORE`) count too while `hard` is 0: the teacher needs no labels.
    """

    def __init__(self, teacher: Headed, *, temperature: float = 2.0, hard: float = 0.0) -> None:
        assert temperature > 0
        assert 0 <= hard <= 1
        self.teacher, self.temperature, self.hard = teacher.eval().requires_grad_(False), temperature, hard

    def count(self, batch: LabelledBatch) -> int:
        """Number of texts; with true classes, of those that have one."""
        return int((batch.labels != IGNORE).sum()) if self.hard else batch.rows

    def loss(self, model: nn.Module, batch: LabelledBatch) -> Tensor:
        """The loss summed over those texts, in float32 nats."""
        student_BK = judgements(model, batch.inputs, "classify")
        with torch.no_grad():
            teacher_BK = judgements(self.teacher, batch.inputs, "classify")
        check_same_labels(student_BK.shape[1], teacher_BK.shape[1])
        if not self.hard:
            return soft_loss(student_BK, teacher_BK, self.temperature)
        counted_B = batch.labels != IGNORE
        student_BK, teacher_BK = student_BK[counted_B], teacher_BK[counted_B]
        true = F.cross_entropy(student_BK, batch.labels[counted_B], reduction="sum")
        return torch.lerp(soft_loss(student_BK, teacher_BK, self.temperature), true, self.hard)


def _chunks(student: Headed, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """So many predictions at a time that logits of both are no more than `cross_entropy.py` allows."""
    rows = chunk_rows(len(tensors[0]), 2 * student.config.vocab_size, tensors[0].device)
    return zip(*(torch.split(tensor, rows) for tensor in tensors), strict=True)


def _hidden(model: Headed, batch: Batch) -> Tensor:
    return model.hidden(
        batch.tokens_BT,
        batch.positions_BT,
        batch.documents_BT,
        segments_BT=batch.segments_BT,
        prefix_B=batch.prefix_B,
    )
