"""A student and its teacher: known answers, nothing to learn where they are equal, nothing learned by the teacher."""

import math

import numpy as np
import pytest
import torch

from finetuning import V, examined, gradients, learn, same, tiny
from hanlin.base.errors import ConfigError
from hanlin.batches.batch import IGNORE
from hanlin.batches.labelled import LabelledBatch
from hanlin.batches.loader import Examples
from hanlin.batches.ragged import lay_batch, lay_inputs
from hanlin.objective import cross_entropy
from hanlin.objective.causal import Causal
from hanlin.objective.distillation import ClassDistillation, Distillation, soft_loss
from hanlin.objective.student import Student, check_same_vocabulary


def drawn(count=5, layout="packed", seed=0):
    draw = np.random.default_rng(seed)
    texts = [draw.integers(4, V, draw.integers(3, 9)) for _ in range(count)]
    targets = [np.append(ids[1:], IGNORE) for ids in texts]
    return lay_batch(texts, targets, layout, 0)


def test_soft_loss_by_hand():
    student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[2.0, 0.0]])
    p = math.e / (math.e + 1)  # at temperature 2
    expected = 4 * (p * math.log(p / 0.5) + (1 - p) * math.log((1 - p) / 0.5))
    assert float(soft_loss(student, teacher, 2.0)) == pytest.approx(expected, abs=1e-6)


def test_at_a_high_temperature_logits_are_matched():
    """arXiv 1503.02531, eq. 4: the gradient goes to (z_i - v_i) / N for logits of mean zero."""
    student = torch.tensor([[1.0, -2.0, 1.0]], dtype=torch.float64, requires_grad=True)
    teacher = torch.tensor([[-1.0, 0.5, 0.5]], dtype=torch.float64)
    soft_loss(student, teacher, 1000.0).backward()
    torch.testing.assert_close(student.grad, (student.detach() - teacher) / 3, atol=2e-3, rtol=0)


@pytest.mark.parametrize("style", ["llama", "bert"])
@pytest.mark.parametrize("distance", ["cosine", "mse"])
def test_where_student_and_teacher_are_equal_there_is_nothing_to_learn(style, distance):
    teacher, student = tiny(style), tiny(style)
    objective = Distillation(teacher, hidden=1.0, distance=distance)
    loss, slopes = gradients(student, objective, [drawn()])
    assert abs(loss) < 1e-5
    assert max(float(slope.abs().max()) for slope in slopes.values()) < 1e-5
    _, slopes = gradients(student, Distillation(teacher, hard=0.5), [drawn()])
    assert max(float(slope.abs().max()) for slope in slopes.values()) > 1e-3
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert examined(student, objective, drawn())["agreement"] == 1


def test_the_whole_loss_by_hand():
    student, teacher, batch = tiny("llama"), tiny("llama", seed=1, layers=1), drawn()
    count = batch.targets_BT != IGNORE
    with torch.no_grad():
        z, v = (m(batch.tokens_BT, batch.positions_BT, batch.documents_BT)[count] for m in (student, teacher))
        h, g = (
            m.hidden(batch.tokens_BT, batch.positions_BT, batch.documents_BT)[count]
            for m in (student, teacher)
        )
        p, q = (v / 3).softmax(-1), (z / 3).softmax(-1)
        soft = 9 * float((p * (p.log() - q.log())).sum())
        hard = float(Causal().loss(student, batch))
        cosine = float((1 - (h * g).sum(-1) / h.norm(dim=-1) / g.norm(dim=-1)).sum())
        mse = float((h - g).square().mean(-1).sum())
        for distance, far in (("cosine", cosine), ("mse", mse)):
            objective = Distillation(teacher, temperature=3.0, hard=0.25, hidden=0.5, distance=distance)
            expected = 0.75 * soft + 0.25 * hard + 0.5 * far
            assert float(objective.loss(student, batch)) == pytest.approx(expected, rel=1e-5)
        assert float(Distillation(teacher, hard=1.0).loss(student, batch)) == pytest.approx(hard, rel=1e-5)
    assert Distillation(teacher).count(batch) == int(count.sum())


def test_layouts_pieces_and_chunks_are_one(monkeypatch):
    student, teacher = tiny("llama"), tiny("llama", seed=1, layers=1)
    objective = Distillation(teacher, hard=0.3, hidden=1.0)
    whole = gradients(student, objective, [drawn(layout="padded")])
    same(whole, gradients(student, objective, [drawn()]))
    same(whole, gradients(student, objective, drawn().split(2)))
    seen = []
    logits = teacher.logits
    monkeypatch.setattr(teacher, "logits", lambda hidden: seen.append(len(hidden)) or logits(hidden))
    monkeypatch.setattr(cross_entropy, "CHUNK_BYTES", {"cpu": 2 * V * 4 * 3, "cuda": 1})
    same(whole, gradients(student, objective, [drawn()]))
    assert 1 <= max(seen) <= 3  # logits of no more than three predictions at a time


def test_another_width_needs_a_layer_between_which_is_trained_along():
    student, teacher = tiny("llama", width=8), tiny("llama", seed=1)
    objective = Distillation(teacher, hidden=1.0, distance="mse")
    with pytest.raises(ConfigError, match=r"width 8 .* of 16"):
        objective.loss(student, drawn())
    both = Student(student, teacher)
    _, slopes = gradients(both, objective, [drawn()])
    assert slopes["projection.weight"].shape == (16, 8)
    assert slopes["projection.weight"].abs().max() > 0
    assert not any("projection" in name for name, _ in student.named_parameters())


def test_another_vocabulary_is_refused():
    with pytest.raises(ConfigError, match=f"{V} tokens and the teacher 30"):
        Distillation(tiny("llama", vocab_size=30)).loss(tiny("llama"), drawn())


def test_another_tokenizer_is_refused(tmp_path):
    from hanlin.tokenizer.bpe import train_bpe
    from hanlin.tokenizer.config import TokenizerConfig
    from hanlin.tokenizer.saving import save_tokenizer
    from hanlin.tokenizer.tokenizer import Tokenizer

    made = []
    for number, text in enumerate(["a rose is a rose ", "the cat sat there "]):
        save_tokenizer(train_bpe([text * 9], TokenizerConfig(vocab_size=262)), "bpe", tmp_path / str(number))
        made.append(Tokenizer.load(tmp_path / str(number)))
    check_same_vocabulary(made[0], Tokenizer.load(tmp_path / "0"))
    with pytest.raises(ConfigError, match="different tokenizers"):
        check_same_vocabulary(*made)


class Rows(Examples):
    """Rows without any true target: each token's own place is where the student is to agree."""

    def __init__(self, make):
        self.make = make

    def __len__(self):
        return 64

    def batch(self, rows, seeds):
        return self.make(len(rows), int(rows[0]))


def test_a_small_student_comes_to_say_what_its_teacher_says():
    teacher = tiny("llama", seed=3, tied=False)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    student = Student(tiny("llama", far=False, width=24, tied=False), teacher)
    stranger = Student(tiny("llama", tied=False, seed=4), teacher)
    objective = Distillation(teacher, hidden=0.1)
    examples = Rows(lambda count, seed: drawn(count, seed=seed % 4))
    losses = learn(student, objective, examples, steps=60, rows=16, rate=1e-2)
    assert losses[-1] < 0.6 * losses[0]
    agreement, chance = (examined(model, objective, drawn(16))["agreement"] for model in (student, stranger))
    assert agreement > 0.5 > 0.2 > chance
    assert not teacher.training
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def test_a_classifier_is_distilled_with_and_without_labels():
    teacher, student = (tiny(head="classify", labels=3, seed=seed) for seed in (0, 0))
    inputs = lay_inputs([[5, 6, 7], [8, 9]], "packed", 0)
    batch = LabelledBatch(inputs, torch.tensor([1, IGNORE]))
    soft, mixed = ClassDistillation(teacher), ClassDistillation(teacher, hard=0.4)
    assert (soft.count(batch), mixed.count(batch)) == (2, 1)
    assert abs(float(soft.loss(student, batch).detach())) < 1e-5
    scores = student(torch.tensor([[5, 6, 7]])).log_softmax(-1)
    assert float(mixed.loss(student, batch).detach()) == pytest.approx(
        -0.4 * float(scores[0, 1].detach()), abs=1e-5
    )
    with pytest.raises(ConfigError, match="4 labels and the teacher 3"):
        soft.loss(tiny(head="classify", labels=4), batch)
