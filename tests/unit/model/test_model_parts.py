"""Norms, rotary positions, feed-forward layers and initial values, each against its formula."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hanlin.model.decoder import Decoder
from hanlin.model.feedforward import FeedForward
from hanlin.model.norm import LayerNorm, RMSNorm
from hanlin.model.position import RotaryTable, rotate

torch.manual_seed(3)
X_BTC = torch.randn(2, 5, 16) * 3 + 1


@pytest.mark.parametrize("kind", [RMSNorm, LayerNorm])
def test_norms_equal_torchs(kind):
    norm = kind(16, 1e-3)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.normal_()
    expected = (
        F.rms_norm(X_BTC, (16,), norm.weight, 1e-3)
        if kind is RMSNorm
        else F.layer_norm(X_BTC, (16,), norm.weight, norm.bias, 1e-3)
    )
    torch.testing.assert_close(norm(X_BTC), expected)


def test_norms_by_hand():
    x = torch.tensor([3.0, 4.0])
    rms, layer = RMSNorm(2, 0.5), LayerNorm(2, 0.75)
    with torch.no_grad():
        rms.weight.copy_(torch.tensor([1.0, 2.0]))
        layer.weight.copy_(torch.tensor([1.0, 2.0]))
        layer.bias.copy_(torch.tensor([0.0, 1.0]))
    root = math.sqrt((9 + 16) / 2 + 0.5)
    torch.testing.assert_close(rms(x), torch.tensor([3 / root, 2 * 4 / root]))
    torch.testing.assert_close(layer(x), torch.tensor([-0.5, 2 * 0.5 + 1]))  # mean 3.5, variance 0.25 + 0.75


def test_rms_norm_computes_in_float32():
    x = torch.full((1, 16), 300.0, dtype=torch.float16)  # its square is no float16
    norm = RMSNorm(16, 1e-5).half()
    with torch.no_grad():
        norm.weight.fill_(1)
    torch.testing.assert_close(norm(x), torch.ones(1, 16, dtype=torch.float16))


def test_rotation_by_hand(config):
    """Pair i turns by position x theta^(-2i/D); the halves of a head are the pairs."""
    table = RotaryTable(config(head_size=4, rope_theta=100.0))
    turned = rotate(torch.tensor([1.0, 0.0, 0.0, 1.0]).view(1, 1, 1, 4), table(torch.tensor([[3]])))
    fast, slow = 3.0, 3.0 * 100**-0.5
    expected = [math.cos(fast), -math.sin(slow), math.sin(fast), math.cos(slow)]
    torch.testing.assert_close(turned.flatten(), torch.tensor(expected))


def test_scores_depend_on_distance_alone(config):
    table = RotaryTable(config(head_size=8, window=200))
    q, k = torch.randn(2, 1, 1, 1, 8, generator=torch.Generator().manual_seed(0))

    def score(query_at, key_at):
        turned = [rotate(x, table(torch.tensor([[at]]))) for x, at in ((q, query_at), (k, key_at))]
        return (turned[0] * turned[1]).sum().item()

    for distance in (0, 1, 17):
        scores = [score(start + distance, start) for start in (0, 5, 100, 180)]
        assert scores == pytest.approx([scores[0]] * 4, abs=1e-5)
    assert score(17, 0) != pytest.approx(score(0, 17), abs=1e-3)  # before is not after


def test_rotation_keeps_lengths_and_position_zero_changes_nothing(config):
    table = RotaryTable(config(head_size=8))
    x = torch.randn(2, 5, 3, 8, generator=torch.Generator().manual_seed(0))
    turned = rotate(x, table(5))
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    assert torch.equal(turned[:, 0], x[:, 0])
    positions = torch.arange(5).expand(2, 5)
    assert torch.equal(rotate(x, table(positions)), turned)


@pytest.mark.parametrize("activation", ["silu", "gelu", "gelu_tanh", "relu"])
@pytest.mark.parametrize("gated", [True, False])
def test_feed_forward_is_its_formula(activation, gated, config):
    torch.manual_seed(0)
    layer = FeedForward(config(activation=activation, gated=gated, bias=True))
    act = {
        "silu": lambda x: x / (1 + torch.exp(-x)),
        "gelu": lambda x: x * (1 + torch.erf(x / math.sqrt(2))) / 2,
        "gelu_tanh": lambda x: x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
        "relu": lambda x: x.clamp(min=0),
    }[activation]
    up = X_BTC @ layer.up.weight.T + layer.up.bias
    inner = act(X_BTC @ layer.gate.weight.T + layer.gate.bias) * up if gated else act(up)
    torch.testing.assert_close(layer(X_BTC), inner @ layer.down.weight.T + layer.down.bias)


@pytest.mark.parametrize("style", ["llama", "gpt2"])
def test_every_initial_value_is_that_of_the_table(style, config):
    torch.manual_seed(0)
    big = config(
        style, vocab_size=3000, width=128, layers=8, ffn_width=256, heads=4, head_size=32, tied=False
    )
    for name, parameter in Decoder(big).named_parameters():
        if name.endswith("norm.weight"):
            assert (parameter == 1).all(), name
        elif name.endswith("bias"):
            assert (parameter == 0).all(), name
        else:
            ends_branch = name.endswith(("attention.output.weight", "ffn.down.weight"))
            std = 0.02 / math.sqrt(2 * 8) if ends_branch else 0.02
            assert parameter.std().item() == pytest.approx(std, rel=0.03), name
            assert parameter.mean().item() == pytest.approx(0, abs=4 * std / math.sqrt(parameter.numel())), (
                name
            )


def test_no_module_escapes_the_table(config):
    """A new kind of module with parameters would keep whatever its constructor left there."""
    kinds = {
        type(m) for s in ("llama", "gpt2") for m in Decoder(config(s)).modules() if [*m.parameters(False)]
    }
    assert kinds == {nn.Linear, nn.Embedding, RMSNorm, LayerNorm}


def test_the_same_seed_gives_the_same_model(config):
    weights = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        weights.append(torch.cat([p.flatten() for p in Decoder(config()).parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
