"""The feed-forward and recurrent language models: known answers, packed = separate, causality, learning."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hanlin.base.device import Compute
from hanlin.base.errors import ConfigError
from hanlin.batches.loader import Loader
from hanlin.batches.pack import PackedRows
from hanlin.evaluate.perplexity import HeldOut, score
from hanlin.evaluate.scorers import decoder_scorer
from hanlin.model.classical.config import FeedForwardConfig, RecurrentConfig
from hanlin.model.classical.embed import initialize_from
from hanlin.model.classical.feedforward import FeedForwardLanguageModel
from hanlin.model.classical.recurrent import RecurrentLanguageModel, time_major
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from hanlin.objective.causal import Causal
from hanlin.objective.mixture import Mixture, Part
from hanlin.trainer.config import PretrainConfig
from hanlin.trainer.loop import train
from hanlin.trainer.optimizer import build_optimizers
from hanlin.trainer.state import TrainState

CPU = Compute(torch.device("cpu"), torch.float32)
V = 19


def feed_forward(**settings: object) -> FeedForwardLanguageModel:
    config = {"vocab_size": V, "width": 6, "context": 3, "hidden": 10, "window": 32, **settings}
    return FeedForwardLanguageModel(FeedForwardConfig.model_validate(config))


def recurrent(cell: str, **settings: object) -> RecurrentLanguageModel:
    config = {"cell": cell, "vocab_size": V, "width": 6, "hidden": 10, "window": 32, **settings}
    return RecurrentLanguageModel(RecurrentConfig.model_validate(config))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "feed-forward": feed_forward,
    "feed-forward, direct": lambda: feed_forward(direct=True),
    "rnn": lambda: recurrent("rnn"),
    "lstm": lambda: recurrent("lstm", layers=2),
    "gru": lambda: recurrent("gru", tied=False),
}


@pytest.fixture(params=NETWORKS, ids=str)
def network(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(3)
    model = NETWORKS[request.param]()
    with torch.no_grad():  # far from zero, so that every part shows in the logits
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model.eval()


def packed_rows() -> tuple[Tensor, Tensor]:
    """Two rows of three and two documents, one of them a single token, with their numbers."""
    tokens_BT = torch.randint(V, (2, 11), generator=torch.Generator().manual_seed(5))
    return tokens_BT, torch.tensor([[1] * 4 + [2] + [3] * 6, [0] * 9 + [1] * 2])


def test_packed_documents_are_as_if_each_stood_alone(network: nn.Module) -> None:
    tokens_BT, documents_BT = packed_rows()
    packed_BTV = network(tokens_BT, None, documents_BT)
    for row in range(2):
        for number in documents_BT[row].unique():
            places = (documents_BT[row] == number).nonzero()[:, 0]
            alone_BTV = network(tokens_BT[row : row + 1, places])
            torch.testing.assert_close(packed_BTV[row, places], alone_BTV[0], atol=1e-6, rtol=1e-5)
    leaking = (packed_BTV - network(tokens_BT)).abs().amax(dim=-1)
    assert leaking[0, 4] > 1e-3  # without the boundary the neighbour is seen, so the test above can fail


def test_gradients_of_packed_documents_are_those_of_each_alone(network: nn.Module) -> None:
    tokens_BT, documents_BT = packed_rows()

    def gradient(losses: list[Tensor]) -> Tensor:
        parameters = list(network.parameters())
        return torch.cat([g.flatten() for g in torch.autograd.grad(torch.stack(losses).sum(), parameters)])

    packed = gradient([network(tokens_BT, None, documents_BT).logsumexp(-1).sum()])
    pieces = [(row, documents_BT[row] == n) for row in range(2) for n in documents_BT[row].unique()]
    alone = gradient([network(tokens_BT[row][inside][None]).logsumexp(-1).sum() for row, inside in pieces])
    torch.testing.assert_close(packed, alone, atol=1e-5, rtol=1e-4)


def test_a_later_token_changes_no_earlier_logit(network: nn.Module) -> None:
    tokens_BT, documents_BT = packed_rows()
    changed_BT = tokens_BT.clone()
    changed_BT[0, 6] = (changed_BT[0, 6] + 1) % V
    before_BTV, after_BTV = network(tokens_BT, None, documents_BT), network(changed_BT, None, documents_BT)
    torch.testing.assert_close(before_BTV[0, :6], after_BTV[0, :6], atol=0, rtol=0)
    assert (before_BTV[0, 6] - after_BTV[0, 6]).abs().max() > 1e-4


def test_the_feed_forward_network_is_equation_1_and_sees_its_window_only() -> None:
    torch.manual_seed(0)
    model = feed_forward(direct=True)
    tokens = torch.tensor([[4, 7, 1, 9]])
    table, hidden, head = model.embed.token.weight, model.blocks[0], model.head
    x = torch.cat([table[9], table[1], table[7]])  # the last three, newest first
    y = (
        head.bias
        + head.weight[:, 10:] @ x
        + head.weight[:, :10] @ torch.tanh(hidden.bias + hidden.weight @ x)
    )
    torch.testing.assert_close(model(tokens)[0, -1], y, atol=1e-6, rtol=1e-5)
    first = torch.cat([table[4], torch.zeros(12)])  # nothing stands before the first token
    expected = head.bias + head.weight[:, 10:] @ first
    expected = expected + head.weight[:, :10] @ torch.tanh(hidden.bias + hidden.weight @ first)
    torch.testing.assert_close(model(tokens)[0, 0], expected, atol=1e-6, rtol=1e-5)
    other = torch.tensor([[5, 7, 1, 9]])  # four back: outside of the window
    torch.testing.assert_close(model(tokens)[0, -1], model(other)[0, -1], atol=0, rtol=0)


def test_the_elman_network_is_its_equation() -> None:
    torch.manual_seed(0)
    model = recurrent("rnn")
    (cell,) = model.blocks
    state = torch.zeros(10)
    for token in (3, 8, 2):
        x = model.embed.token.weight[token] * math.sqrt(6)
        w_x, w_h = cell.weight_ih_l0, cell.weight_hh_l0
        state = torch.tanh(w_x @ x + cell.bias_ih_l0 + w_h @ state + cell.bias_hh_l0)
    expected = model.embed.token.weight @ (model.project.weight @ state)
    torch.testing.assert_close(model(torch.tensor([[3, 8, 2]]))[0, -1], expected, atol=1e-6, rtol=1e-5)


def test_forget_gates_begin_open() -> None:
    (cell,) = recurrent("lstm").blocks
    assert cell.bias_hh_l0[10:20].tolist() == [1.0] * 10
    assert cell.bias_hh_l0[:10].abs().max() < 0.5


def test_time_major_order_by_hand() -> None:
    """Runs a b b b | c c: longest first, so the order is b c a (stable not required), then b c, then b."""
    order_N, sizes_S = time_major(torch.tensor([[0, 1, 1, 1], [5, 5, 6, 6]]))
    assert sizes_S.tolist() == [4, 3, 1]
    assert order_N[0] == 1  # the run of three leads
    assert set(order_N[:4].tolist()) == {1, 0, 4, 6}
    assert set(order_N[4:7].tolist()) == {2, 5, 7}
    assert order_N[7] == 3


def test_vectors_of_the_network_and_its_head_are_one_table_where_tied() -> None:
    tied, untied = recurrent("gru"), recurrent("gru", tied=False)
    assert tied.head.weight is tied.embed.token.weight
    assert sum(p.numel() for p in untied.parameters()) - sum(p.numel() for p in tied.parameters()) == V * 6


@pytest.mark.parametrize("name", ["feed-forward", "rnn", "lstm", "gru"])
def test_the_one_loop_trains_and_the_one_scorer_examines(name: str) -> None:
    """A text that a two-token memory predicts: 1 2 1 3 1 2 1 3 ... with documents cut by 0."""
    document = [0] + [1, 2, 1, 3] * 5
    tokens = np.array(document * 60, np.uint16)
    torch.manual_seed(0)
    model = NETWORKS[name]()
    config = PretrainConfig(
        steps=150, warmup=5, batch_rows=8, evaluate_every=150, log_every=150, learning_rate=2e-2,
        muon_learning_rate=2e-2,
    )  # fmt: skip
    rows, held_out = (Loader(PackedRows(tokens, 16, 0), rows=8) for _ in range(2))
    state = TrainState(model, build_optimizers(model, config))
    train(
        state, Mixture([Part("causal", Causal(), rows, held_out)]), config, CPU, save=lambda state: None, sinks=[], peak_rate=1e9,
    )  # fmt: skip
    assert state.best_value is not None
    assert (
        state.best_value < 0.45
    )  # log 4 = 1.39 knows the letters, 0.69 cannot remember; not all ends are foreseen
    scored = score(decoder_scorer(model.eval(), CPU, 0), [HeldOut("x" * 20, document[1:])], 0)
    assert scored.perplexity < 1.8


@pytest.mark.parametrize("build", [feed_forward, lambda: recurrent("lstm"), lambda: Decoder(CORE)])
def test_vectors_from_elsewhere_become_the_first_ones(build: Callable[[], nn.Module]) -> None:
    model = build()
    table = model.get_parameter("embed.token.weight").requires_grad_(False)
    before = table.detach().clone()
    vectors = np.random.default_rng(0).normal(5, 30, (V, 6)).astype(np.float32)
    vectors[4] = np.nan
    initialize_from(model, vectors)
    torch.testing.assert_close(table[4], before[4])  # no vector was given for it
    known = np.arange(V) != 4
    assert table[known].std() == pytest.approx(float(before.std()), rel=1e-4)
    centred = vectors[known] - vectors[known].mean(axis=0)
    angles = torch.cosine_similarity(table[known].detach(), torch.from_numpy(centred))
    torch.testing.assert_close(angles, torch.ones(V - 1))
    assert np.isfinite(model(torch.tensor([[1, 4]])).detach().numpy()).all()
    with pytest.raises(ConfigError, match=r"shape \(3, 6\)"):
        initialize_from(model, vectors[:3])


CORE = CoreConfig(vocab_size=V, width=6, layers=1, heads=1, window=16)
