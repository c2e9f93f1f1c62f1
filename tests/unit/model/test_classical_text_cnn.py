import numpy as np
import pytest
import torch
from pydantic import ValidationError

from hanlin.base.device import Compute
from hanlin.batches.batch import IGNORE
from hanlin.batches.labelled import LabelledBatch
from hanlin.batches.ragged import Inputs
from hanlin.model.classical.text_cnn import TextCNN, TextCNNConfig
from hanlin.objective.classification import Classification
from hanlin.trainer.config import PretrainConfig
from hanlin.trainer.learner import Learner
from hanlin.trainer.optimizer import build_optimizers
from hanlin.trainer.step import training_step

CPU = Compute(torch.device("cpu"), torch.float32)
V, PAD = 12, 0


def texts(rows: int, seed: int) -> LabelledBatch:
    """Class 1: '3 4' stands somewhere. Class 0: the same letters, but always as '4 3': a bag of words sees no difference."""
    generator = np.random.default_rng(seed)
    tokens_BT = np.zeros((rows, 14), np.int64)
    classes_B = generator.integers(2, size=rows)
    for row, kind in enumerate(classes_B):
        length = generator.integers(6, 15)
        tokens_BT[row, :length] = generator.integers(5, V, length)
        place = generator.integers(0, length - 1)
        tokens_BT[row, place : place + 2] = (3, 4) if kind else (4, 3)
    return LabelledBatch(Inputs(torch.from_numpy(tokens_BT)), torch.from_numpy(classes_B))


def test_it_learns_a_task_of_ngrams_that_a_bag_of_words_cannot() -> None:
    torch.manual_seed(0)
    model = TextCNN(TextCNNConfig(vocab_size=V, classes=2, width=12, filters=12, lengths=(2, 3)))
    config = PretrainConfig(steps=150, warmup=5, optimizer="adamw", learning_rate=5e-3)
    optimizers, objective, learner = build_optimizers(model, config), Classification(), Learner(model)
    for step in range(150):
        training_step(
            learner, objective, optimizers, texts(32, step), CPU, micro_rows=16, clip=1.0, on_nonfinite="stop"
        )
    unseen = texts(200, 10_000)
    said_B = model.eval()(unseen.inputs.tokens_BT).argmax(dim=1)
    assert (said_B == unseen.labels).float().mean() > 0.97


def test_known_answer_by_hand() -> None:
    """One filter over pairs that answers 1 for (3, 4), of two classes: relu, max over time, linear."""
    model = TextCNN(TextCNNConfig(vocab_size=V, classes=2, width=2, filters=1, lengths=(2,), dropout=0))
    with torch.no_grad():
        model.embed.token.weight.zero_()
        model.embed.token.weight[3], model.embed.token.weight[4] = (
            torch.tensor([1.0, 0]),
            torch.tensor([0, 1.0]),
        )
        (convolve,) = model.filters
        convolve.weight.copy_(torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]))  # channels x time: 3 first, then 4
        convolve.bias.fill_(-1.5)
        model.head.weight.copy_(torch.tensor([[2.0], [0.0]]))
        model.head.bias.copy_(torch.tensor([0.0, 0.25]))
    logits = model(torch.tensor([[7, 3, 4, 7], [7, 4, 3, 7], [3, 7, 4, 7]]))
    torch.testing.assert_close(logits, torch.tensor([[1.0, 0.25], [0.0, 0.25], [0.0, 0.25]]))


@pytest.mark.parametrize("length", [1, 2, 6])
def test_padding_changes_nothing(length: int) -> None:
    torch.manual_seed(0)
    model = TextCNN(TextCNNConfig(vocab_size=V, classes=3, width=8, filters=4)).eval()
    with torch.no_grad():
        for convolve in model.filters:
            convolve.bias.fill_(0.7)  # a filter that answers to nothing at all would show
    tokens = torch.randint(1, V, (1, length))
    padded = torch.cat([tokens, torch.full((1, 9), PAD)], dim=1)
    torch.testing.assert_close(model(tokens), model(padded))


def test_rows_without_a_class_do_not_count() -> None:
    torch.manual_seed(0)
    model = TextCNN(TextCNNConfig(vocab_size=V, classes=2, width=4, filters=2, dropout=0))
    batch = texts(6, 1)
    hidden = batch.labels.clone()
    hidden[2:] = IGNORE
    part = Classification().loss(model, LabelledBatch(batch.inputs, hidden))
    assert [Classification().count(b) for b in (batch, LabelledBatch(batch.inputs, hidden))] == [6, 2]
    first = Classification().loss(model, batch.split(2)[0])
    torch.testing.assert_close(part, first)


@pytest.mark.parametrize("lengths", [(), (0, 3)])
def test_filters_need_a_length(lengths: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError, match="at least one length"):
        TextCNNConfig(vocab_size=V, classes=2, lengths=lengths)
