"""The two probes of the ladder: how far back a gradient reaches, and how far back a symbol is recalled."""

import numpy as np
import pytest
import torch

from hanlin.base.device import Compute
from hanlin.batches.batch import IGNORE
from hanlin.evaluate.gradients import gradient_by_distance, reach
from hanlin.evaluate.recall import (
    MARK,
    QUESTION,
    SYMBOLS,
    VOCAB_SIZE,
    RecallRows,
    recall_of_network,
    recall_of_ngram,
    recall_reach,
)
from hanlin.model.classical.config import FeedForwardConfig, RecurrentConfig
from hanlin.model.classical.feedforward import FeedForwardLanguageModel
from hanlin.model.classical.recurrent import RecurrentLanguageModel
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from hanlin.objective.causal import Causal
from hanlin.objective.mixture import Mixture, Part
from hanlin.trainer.config import PretrainConfig
from hanlin.trainer.loop import train
from hanlin.trainer.optimizer import build_optimizers
from hanlin.trainer.state import TrainState

CPU = Compute(torch.device("cpu"), torch.float32)


def random_tokens(vocab_size: int = 11, rows: int = 4, length: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(vocab_size, (rows, length + 1), generator=generator)
    return tokens[:, :-1], tokens[:, -1]


def test_a_recurrence_that_halves_its_state_halves_the_gradient_with_each_step() -> None:
    torch.manual_seed(0)
    model = RecurrentLanguageModel(RecurrentConfig(cell="rnn", vocab_size=11, width=8, hidden=8))
    (cell,) = model.blocks
    with torch.no_grad():
        cell.weight_hh_l0.copy_(torch.eye(8) / 2)
        cell.weight_ih_l0.mul_(1e-3)  # so near zero that tanh is the identity
        cell.bias_ih_l0.zero_()
        cell.bias_hh_l0.zero_()
    gradient_T = gradient_by_distance(model, *random_tokens())
    np.testing.assert_allclose(gradient_T[1:] / gradient_T[:-1], 0.5, rtol=1e-3)
    assert reach(gradient_T) == 6  # 2^-6 is above a hundredth, 2^-7 is below


def test_a_feed_forward_network_learns_nothing_from_beyond_its_window() -> None:
    model = FeedForwardLanguageModel(FeedForwardConfig(vocab_size=11, width=8, context=3, hidden=8))
    gradient_T = gradient_by_distance(model, *random_tokens())
    assert (gradient_T[:3] > 0).all()
    assert (gradient_T[3:] == 0).all()


def test_the_gradient_is_that_of_moving_a_vector() -> None:
    """Against finite differences on the table: with one row of distinct tokens each vector is used once."""
    torch.manual_seed(0)
    model = (
        Decoder(CoreConfig(vocab_size=9, width=8, layers=1, heads=2, window=16, tied=False)).double().eval()
    )
    tokens, target = torch.tensor([[4, 1, 7, 2]]), torch.tensor([5])
    found = gradient_by_distance(model, tokens, target)

    def loss() -> float:
        return float(torch.nn.functional.cross_entropy(model(tokens)[:, -1].double(), target).detach())

    table = model.embed.token.weight.requires_grad_(False)
    for k, token in enumerate((2, 7, 1, 4)):
        slopes = []
        for channel in range(8):
            table[token, channel] += 1e-3
            above = loss()
            table[token, channel] -= 2e-3
            slopes.append((above - loss()) / 2e-3)
            table[token, channel] += 1e-3
        assert np.linalg.norm(slopes) == pytest.approx(found[k], rel=2e-3)


def test_probing_leaves_the_model_as_it_was() -> None:
    model = RecurrentLanguageModel(RecurrentConfig(cell="gru", vocab_size=11, width=8, hidden=8)).train()
    gradient_by_distance(model, *random_tokens())
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.embed.token._forward_hooks


@pytest.mark.parametrize("taken", [None, 0, 21])
def test_the_only_target_of_a_row_is_the_marked_symbol(taken: int | None) -> None:
    source = RecallRows((1, 4, 9), rows=30)
    batch, question_B = source.draw(30, taken)
    tokens_BT, targets_BT = batch.tokens_BT.numpy(), batch.targets_BT.numpy()
    for row, place in enumerate(question_B):
        (mark,) = np.flatnonzero(tokens_BT[row] == MARK)
        assert (
            place - (mark + 1) - 1 == source.distances[row % 3]
        )  # symbols between the kept one and the question
        assert np.flatnonzero(tokens_BT[row] == QUESTION).tolist() == [place]
        assert np.flatnonzero(targets_BT[row] != IGNORE).tolist() == [place]
        assert targets_BT[row, place] == tokens_BT[row, mark + 1] < SYMBOLS
    assert len(set(question_B.tolist())) > 5  # places differ


def test_rows_depend_on_what_was_taken_alone_and_evaluation_is_not_training() -> None:
    source = RecallRows((1, 2), rows=4, seed=3)
    stream = source.stream(0)
    next(stream)
    second = next(stream)
    again = next(source.stream(4))
    assert torch.equal(second.tokens_BT, again.tokens_BT)
    (held_out,) = source.once(4)
    assert not torch.equal(held_out.tokens_BT, next(source.stream(0)).tokens_BT)


def test_counting_recalls_within_its_window_and_guesses_beyond() -> None:
    near, far = recall_of_ngram(RecallRows((1, 6), rows=16), order=4, taught=4000, rows_each=60)
    assert near > 0.9  # the kept symbol, one between, the question: three tokens before the answer
    assert far < 0.3


def test_a_network_that_sees_far_enough_learns_to_recall_and_one_that_does_not_cannot() -> None:
    torch.manual_seed(0)
    source = RecallRows((1, 4), rows=16)
    shares = {}
    for context in (3, 6):
        model = FeedForwardLanguageModel(
            FeedForwardConfig(
                vocab_size=VOCAB_SIZE, width=16, context=context, hidden=64, window=source.length
            )
        )
        config = PretrainConfig(
            steps=300, warmup=10, batch_rows=16, learning_rate=1e-2, evaluate_every=300, save_every=300
        )
        state = TrainState(model, build_optimizers(model, config))
        train(
            state, Mixture([Part("recall", Causal(), source, source)]), config, CPU, save=lambda state: None, sinks=[], peak_rate=1e9,
        )  # fmt: skip
        shares[context] = recall_of_network(model, source, 60, CPU)
    assert shares[3][1] < 0.3 < 0.7 < shares[6][1]
    assert min(shares[3][0], shares[6][0]) > 0.7


def test_the_longest_distance_up_to_which_all_is_recalled() -> None:
    assert recall_reach((1, 2, 4, 8), [1.0, 0.95, 0.5, 1.0]) == 2
    assert recall_reach((1, 2), [1.0, 0.9]) == 2
    assert recall_reach((1, 2), [0.2, 1.0]) == 0
