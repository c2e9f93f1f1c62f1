import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from hanlin.batches.batch import IGNORE
from hanlin.model.adapters.adapters import Adapters
from hanlin.model.adapters.config import LoraConfig
from hanlin.model.assemble import build_model
from hanlin.model.classical.config import RecurrentConfig
from hanlin.model.classical.recurrent import RecurrentLanguageModel
from hanlin.model.config import CoreConfig
from hanlin.objective import cross_entropy
from hanlin.objective.cross_entropy import chunk_rows, linear_cross_entropy, token_loss

V, C = 37, 16
SMALL = {"vocab_size": V, "width": C, "layers": 1, "heads": 2, "ffn_width": 32, "window": 16}
MODELS = {
    "untied": {"tied": False},
    "tied, bias, softcap": {"style": "gpt2", "head_bias": True, "logit_softcap": 3.0},
    "scaled": {"head_scale": 0.3},
    "masked": {"style": "bert"},
    "pretraining": {"style": "bert", "head": "pretraining"},
    "seq2seq": {"style": "transformer", "tied": True, "head_scale": 0.5},
}


def model_of(settings):
    torch.manual_seed(0)
    model = build_model(CoreConfig(**SMALL, **settings))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


@pytest.fixture
def small_chunks(monkeypatch):
    """At most five targets a chunk."""
    monkeypatch.setitem(cross_entropy.CHUNK_BYTES, "cpu", 5 * 4 * V)


def states_and_targets(counted=0.6):
    random = torch.Generator().manual_seed(1)
    hidden_BTC = torch.randn(3, 9, C, generator=random)
    targets_BT = torch.randint(V, (3, 9), generator=random)
    targets_BT[torch.rand(3, 9, generator=random) >= counted] = IGNORE
    return hidden_BTC, targets_BT


def by_whole_logits(model, hidden_BTC, targets_BT, smoothing):
    return F.cross_entropy(
        model.logits(hidden_BTC).flatten(0, 1),
        targets_BT.flatten(),
        ignore_index=IGNORE,
        reduction="sum",
        label_smoothing=smoothing,
    )


def loss_and_gradients(model, loss, hidden_BTC, targets_BT, smoothing):
    """The loss, and three times its gradients."""
    hidden_BTC = hidden_BTC.clone().requires_grad_()
    model.zero_grad(set_to_none=True)
    value = loss(model, hidden_BTC, targets_BT, smoothing)
    (3 * value).backward()
    slopes = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return value.detach(), {**slopes, "hidden": hidden_BTC.grad}


def check_equal(model, hidden_BTC, targets_BT, smoothing):
    ours, our_slopes = loss_and_gradients(model, token_loss, hidden_BTC, targets_BT, smoothing)
    whole, slopes = loss_and_gradients(model, by_whole_logits, hidden_BTC, targets_BT, smoothing)
    torch.testing.assert_close(ours, whole, rtol=1e-5, atol=1e-5)
    assert our_slopes.keys() == slopes.keys()
    for name, slope in slopes.items():
        torch.testing.assert_close(our_slopes[name], slope, rtol=1e-5, atol=1e-5, msg=name)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("counted", [0.6, 1.0])
@pytest.mark.parametrize("settings", MODELS.values(), ids=MODELS)
@pytest.mark.usefixtures("small_chunks")
def test_is_the_cross_entropy_of_whole_logits(settings, counted, smoothing):
    check_equal(model_of(settings), *states_and_targets(counted), smoothing)


@pytest.mark.usefixtures("small_chunks")
def test_is_the_cross_entropy_of_whole_logits_through_adapters_and_in_recurrent_models():
    adapted = model_of({"style": "bert", "tied": False})
    adapters = Adapters(adapted)
    adapters.add("one", LoraConfig(rank=2, layers=("head", "transform.dense")))
    adapters.active = "one"
    with torch.no_grad():
        for parameter in adapted.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    check_equal(adapted, *states_and_targets(), 0.1)
    torch.manual_seed(0)
    recurrent = RecurrentLanguageModel(
        RecurrentConfig(cell="gru", vocab_size=V, width=C, hidden=8, window=16)
    )
    check_equal(recurrent, *states_and_targets(), 0.1)


@pytest.mark.parametrize(("smoothing", "softcap"), [(0.0, None), (0.1, 2.0)])
@pytest.mark.usefixtures("small_chunks")
def test_slopes_are_those_of_differences(smoothing, softcap):
    torch.manual_seed(0)
    hidden, weight, bias = (
        torch.randn(7, 4, dtype=torch.double, requires_grad=True),
        torch.randn(V, 4, dtype=torch.double, requires_grad=True),
        torch.randn(V, dtype=torch.double, requires_grad=True),
    )
    targets = torch.randint(V, (7,))

    def loss(*inputs):
        return linear_cross_entropy(*inputs, targets, smoothing, softcap)

    loss(hidden, weight, bias).backward()
    for tensor in (hidden, weight, bias):
        flat, step = tensor.detach().view(-1), 1e-6
        for place in range(0, len(flat), 3):
            ends = []
            for change in (step, -2 * step):
                flat[place] += change
                ends.append(loss(hidden, weight, bias).detach())
            flat[place] += step
            difference = (ends[0] - ends[1]) / (2 * step)
            torch.testing.assert_close(tensor.grad.view(-1)[place], difference, rtol=1e-6, atol=1e-7)


def test_known_answer():
    """Two equal logits: ln 2; with smoothing 0.5 the target has 3/4, and the slope is 1/2 - 3/4."""
    weight = torch.zeros(2, 1, requires_grad=True)
    loss = linear_cross_entropy(torch.ones(1, 1), weight, None, torch.tensor([1]), 0.5)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0.6931472)
    assert weight.grad.tolist() == [[0.25], [-0.25]]


def test_a_loss_near_zero_keeps_its_digits():
    hidden = torch.tensor([[40.0]])
    loss = linear_cross_entropy(hidden, torch.tensor([[1.0], [0.6]]), None, torch.tensor([0]))
    assert float(loss) == pytest.approx(1.1253517e-07, rel=0.1)


class Largest(TorchDispatchMode):
    """The most values that any result had inside, views of something else apart."""

    def __init__(self):
        super().__init__()
        self.values = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        sizes = [t.untyped_storage().nbytes() // t.itemsize for t in tree_iter(out) if torch.is_tensor(t)]
        self.values = max(self.values, *sizes, 0)
        return out


@pytest.mark.parametrize("adapted", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_nothing_of_all_targets_by_the_vocabulary_is_ever_whole(monkeypatch, smoothing, adapted):
    monkeypatch.setitem(cross_entropy.CHUNK_BYTES, "cpu", 2**16)
    torch.manual_seed(0)
    model = build_model(CoreConfig(**SMALL | {"vocab_size": 1000}))
    if adapted:
        Adapters(model).add("one", LoraConfig(rank=2, layers=("head",)))
    hidden_NC = torch.randn(200, C, requires_grad=True)
    targets_N = torch.randint(1000, (200,))
    with Largest() as whole:
        by_whole_logits(model, hidden_NC[None], targets_N[None], smoothing).backward()
    with Largest() as ours:
        token_loss(model, hidden_NC, targets_N, smoothing).backward()
    assert whole.values == 200 * 1000
    assert ours.values <= 2**16 / 4 * 1.1


def test_without_counted_targets_all_is_zero():
    model = model_of({"style": "bert"})
    loss, slopes = loss_and_gradients(
        model, token_loss, torch.randn(2, 3, C), torch.full((2, 3), IGNORE), 0.1
    )
    assert float(loss) == 0
    assert {"hidden", "embed.token.weight", "head.bias", "transform.dense.weight"} <= slopes.keys()
    assert all(not slope.any() for slope in slopes.values())


def test_validation_makes_no_gradients():
    model, (hidden_BTC, targets_BT) = model_of({"tied": False}), states_and_targets()
    with torch.no_grad(), Largest() as seen:
        loss = token_loss(model, hidden_BTC, targets_BT)
    assert not loss.requires_grad
    torch.testing.assert_close(loss, by_whole_logits(model, hidden_BTC, targets_BT, 0.0).detach())
    assert seen.values <= 27 * (V + 16)


def test_frozen_weights_get_no_gradient():
    model, (hidden_BTC, targets_BT) = model_of({"tied": False}), states_and_targets()
    model.head.weight.requires_grad_(False)
    _, slopes = loss_and_gradients(model, token_loss, hidden_BTC, targets_BT, 0.0)
    assert slopes.keys() == {"hidden"}


@pytest.mark.usefixtures("small_chunks")
def test_under_autocast_products_are_in_its_format_and_the_loss_is_not():
    model, (hidden_BTC, targets_BT) = model_of({"tied": False}), states_and_targets()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half, half_slopes = loss_and_gradients(model, token_loss, hidden_BTC, targets_BT, 0.0)
        whole, slopes = loss_and_gradients(model, by_whole_logits, hidden_BTC, targets_BT, 0.0)
    full, _ = loss_and_gradients(model, token_loss, hidden_BTC, targets_BT, 0.0)
    assert half.dtype == torch.float32
    assert float(half) != float(full)
    torch.testing.assert_close(half, whole, rtol=1e-5, atol=1e-5)
    for name, slope in slopes.items():
        assert half_slopes[name].dtype == torch.float32
        torch.testing.assert_close(half_slopes[name], slope, rtol=2e-2, atol=5e-2)


def test_a_second_backward_pass_is_refused():
    model, (hidden_BTC, targets_BT) = model_of({"tied": False}), states_and_targets()
    loss = token_loss(model, hidden_BTC.requires_grad_(), targets_BT)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_compiled_code_around_it_gives_the_same():
    """The loss itself stays outside of the graph."""
    model, (hidden_BTC, targets_BT) = model_of({"tied": False}), states_and_targets()
    compiled = torch.compile(lambda hidden: token_loss(model, hidden * 2, targets_BT), backend="aot_eager")
    hidden_BTC.requires_grad_()
    loss = compiled(hidden_BTC)
    loss.backward()
    torch.testing.assert_close(loss, by_whole_logits(model, hidden_BTC * 2, targets_BT, 0.0))
    assert hidden_BTC.grad.any()


def test_chunks_are_even_and_never_too_large(monkeypatch):
    monkeypatch.setitem(cross_entropy.CHUNK_BYTES, "cpu", 4 * 10 * 100)
    cpu = torch.device("cpu")
    assert [chunk_rows(N, 10, cpu) for N in (0, 1, 100, 101, 300)] == [1, 1, 100, 51, 100]
    assert chunk_rows(7, 10**6, cpu) == 1
    assert chunk_rows(5, 10, torch.device("meta")) == 5
