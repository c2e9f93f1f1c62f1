"""Positions against known answers: sinusoids, T5's buckets, ALiBi's slopes, each also in a whole model."""

import math

import pytest
import torch
from torch import nn
from transformers import MptConfig, MptForCausalLM
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.t5.modeling_t5 import T5Attention

from hanlin.base.errors import RequestError
from hanlin.model.bias import LinearBias, RelativeBias, relative_bucket
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from hanlin.model.encoder import Encoder
from hanlin.model.position import RotaryTable, SinusoidalTable, rotate

SHAPE = {
    "assembly": "encoder",
    "head": "none",
    "vocab_size": 30,
    "width": 16,
    "layers": 2,
    "heads": 4,
    "window": 20,
}
EQUAL_ROWS_BT = torch.tensor([[3, 1, 4, 1, 5]] * 3)
PERMUTATION = torch.tensor([2, 0, 4, 1, 3])


def encoder(position):
    torch.manual_seed(0)
    return Encoder(CoreConfig.model_validate({**SHAPE, "position": position})).eval()


# Sinusoids.


@pytest.mark.parametrize("width", [8, 7])
def test_the_table_is_the_formula(width):
    """PE(t, 2i) = sin(t / 10000^(2i/d)), PE(t, 2i+1) = cos(same); an odd width ends in a sine."""
    table = SinusoidalTable(20, width, "neighbours")(torch.arange(20))
    assert table.shape == (20, width)
    for t in range(20):
        for i in range(width):
            angle = t / 10000 ** (2 * (i // 2) / width)
            assert table[t, i].item() == pytest.approx(
                math.cos(angle) if i % 2 else math.sin(angle), abs=1e-6
            )


@pytest.mark.parametrize("width", [8, 7])
def test_halves_are_the_same_values_in_another_order(width):
    neighbours = SinusoidalTable(20, width, "neighbours")(torch.arange(20))
    halves = SinusoidalTable(20, width, "halves")(torch.arange(20))
    assert torch.equal(halves, torch.cat((neighbours[:, 0::2], neighbours[:, 1::2]), dim=1))


def test_a_shift_is_a_rotation():
    """What arXiv 1706.03762, 3.5 gives as the reason: PE(t + k) is a linear function of PE(t), the same for all t."""
    table = SinusoidalTable(50, 16, "neighbours")(torch.arange(50))
    k = 7
    frequency = 10000.0 ** (-torch.arange(0, 16, 2) / 16)
    cosine, sine = (k * frequency).cos(), (k * frequency).sin()
    sines, cosines = table[:-k, 0::2], table[:-k, 1::2]
    torch.testing.assert_close(table[k:, 0::2], sines * cosine + cosines * sine, atol=1e-5, rtol=0)
    torch.testing.assert_close(table[k:, 1::2], cosines * cosine - sines * sine, atol=1e-5, rtol=0)


def rows_agree(model):
    """Equal texts in one batch have equal states."""
    hidden_BTC = model(EQUAL_ROWS_BT)
    return bool(torch.allclose(hidden_BTC, hidden_BTC[:1].expand_as(hidden_BTC), atol=1e-5))


def order_shows(model):
    """The state of a token depends on where the others are, not only on which they are."""
    hidden_BTC, permuted_BTC = model(EQUAL_ROWS_BT), model(EQUAL_ROWS_BT[:, PERMUTATION])
    return not torch.allclose(permuted_BTC, hidden_BTC[:, PERMUTATION], atol=1e-5)


@torch.no_grad()
def test_sinusoids_go_along_time_and_not_along_the_batch():
    """A table of shape (T, 1, C), cut by the first axis of (B, T, C), gives each row a vector of its own and each
    place the same one: no exception, and order is invisible."""
    model = encoder("sinusoidal")
    assert rows_agree(model)
    assert order_shows(model)
    wrong, table_T1C = encoder("none"), SinusoidalTable(20, 16, "neighbours").table_TC.unsqueeze(1)
    wrong.embed.register_forward_hook(lambda _module, _inputs, x_BTC: x_BTC + table_T1C[: x_BTC.size(0)])
    assert not rows_agree(wrong)
    assert not order_shows(wrong)
    right = encoder("none")
    right.embed.register_forward_hook(
        lambda _module, _inputs, x_BTC: x_BTC + table_T1C.transpose(0, 1)[:, : x_BTC.size(1)]
    )
    torch.testing.assert_close(right(EQUAL_ROWS_BT), model(EQUAL_ROWS_BT))


@pytest.mark.parametrize("position", ["sinusoidal", "learned", "rotary", "relative", "alibi"])
@torch.no_grad()
def test_order_shows_in_every_kind_but_none(position):
    model = encoder(position)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    assert order_shows(model)
    assert rows_agree(model)
    assert not order_shows(encoder("none"))


@torch.no_grad()
def test_an_odd_width_runs_and_a_text_beyond_the_table_is_refused():
    settings = {**SHAPE, "width": 7, "heads": 1, "position": "sinusoidal"}
    model = Encoder(CoreConfig.model_validate(settings)).eval()
    assert model(torch.zeros(2, 20, dtype=torch.long)).shape == (2, 20, 7)
    with pytest.raises(RequestError) as caught:
        model(torch.zeros(2, 21, dtype=torch.long))
    assert caught.value.problem.en == "21 tokens do not fit this model's window of 20."
    assert "21" in caught.value.problem.zh


# T5's buckets.


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("buckets", "furthest"), [(32, 128), (8, 20), (6, 7)])
def test_buckets_are_those_of_t5(causal, buckets, furthest):
    distance = torch.arange(-600, 601)
    expected = T5Attention._relative_position_bucket(distance, not causal, buckets, furthest)
    assert torch.equal(relative_bucket(distance, causal, buckets, furthest), expected)


def test_near_keys_have_buckets_of_their_own_and_far_ones_share():
    """arXiv 1910.10683, 2.1, for 32 buckets up to 128: of the 16 that look back, 8 are exact."""
    bucket = relative_bucket(-torch.arange(200), False, 32, 128)
    assert bucket[:8].tolist() == list(range(8))
    assert (bucket.diff() >= 0).all()
    assert bucket[128:].unique().tolist() == [15]
    assert relative_bucket(torch.tensor([1, 7, 500]), False, 32, 128).tolist() == [17, 23, 31]
    assert relative_bucket(torch.tensor([1, 7, 500]), True, 32, 128).tolist() == [0, 0, 0]  # hidden anyway


def test_the_bias_is_looked_up_by_head_and_distance():
    config = CoreConfig.model_validate({**SHAPE, "position": "relative", "relative_buckets": 8, "heads": 2})
    bias = RelativeBias(config, causal=False)
    nn.init.normal_(bias.bucket.weight, generator=torch.Generator().manual_seed(0))
    query, key = torch.tensor([[3, 4]]), torch.tensor([[0, 3, 5]])
    bias_BHTS = bias(query, key)
    assert bias_BHTS.shape == (1, 2, 2, 3)
    for t, s in ((0, 0), (0, 2), (1, 1)):
        number = relative_bucket(key[0, s] - query[0, t], False, 8, config.relative_max_distance)
        assert torch.equal(bias_BHTS[0, :, t, s], bias.bucket.weight[number])


# ALiBi.


def test_slopes_for_eight_heads_are_those_of_the_paper():
    """arXiv 2108.12409, section 3: 1/2, 1/4 ... 1/256."""
    assert LinearBias(8).slopes_H.tolist() == [2.0**-h for h in range(1, 9)]


def test_slopes_for_twelve_heads_are_those_of_the_papers_code():
    """Eight heads have those of eight, four more have every second one of those of sixteen."""
    expected = [2.0**-h for h in range(1, 9)] + [2.0**-h for h in (0.5, 1.5, 2.5, 3.5)]
    assert LinearBias(12).slopes_H.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("heads", [1, 3, 8, 12])
def test_the_bias_is_that_of_bloom_but_for_a_constant_in_each_row(heads):
    """BLOOM counts from the start of the text, the paper from the query: the softmax sees no difference."""
    T = 9
    places_1T = torch.arange(T).unsqueeze(0)
    bias_HTS = LinearBias(heads)(places_1T, places_1T)[0]
    bloom_H1S = build_alibi_tensor(torch.ones(1, T), heads, torch.float32)
    visible = torch.ones(T, T).tril().bool()
    weights, expected = (
        scores.masked_fill(~visible, -torch.inf).softmax(-1)
        for scores in (bias_HTS, bloom_H1S.expand(-1, T, -1))
    )
    torch.testing.assert_close(weights, expected, atol=1e-6, rtol=0)
    assert (bias_HTS.diagonal(dim1=1, dim2=2) == 0).all()


@pytest.mark.parametrize("heads", [4, 6])
@torch.no_grad()
def test_a_whole_model_with_linear_biases_is_theirs(heads):
    """MPT: pre-norm without biases, GELU, ALiBi. Its three projections are one weight."""
    width, layers = 24, 2
    torch.manual_seed(0)
    theirs = MptForCausalLM(
        MptConfig(d_model=width, n_heads=heads, n_layers=layers, max_seq_len=32, vocab_size=50)
    ).eval()
    settings = {"vocab_size": 50, "width": width, "layers": layers, "heads": heads, "window": 32, "position": "alibi",
                "norm": "layer", "norm_bias": False, "bias": False, "activation": "gelu", "gated": False,
                "norm_eps": theirs.config.layer_norm_epsilon}  # fmt: skip
    ours = Decoder(CoreConfig.model_validate(settings)).eval()
    for parameter in theirs.parameters():
        parameter.add_(torch.randn_like(parameter) * 0.2)
    pairs = [(ours.embed.token, theirs.transformer.wte), (ours.norm, theirs.transformer.norm_f)]
    for block, other in zip(ours.blocks, theirs.transformer.blocks, strict=True):
        fused = other.attn.Wqkv.weight.chunk(3)
        for name, weight in zip(("query", "key", "value"), fused, strict=True):
            getattr(block.attention, name).weight.copy_(weight)
        pairs += [(block.attention.output, other.attn.out_proj), (block.attention_norm, other.norm_1),
                  (block.ffn_norm, other.norm_2), (block.ffn.up, other.ffn.up_proj),
                  (block.ffn.down, other.ffn.down_proj)]  # fmt: skip
    for mine, other in pairs:
        mine.weight.copy_(other.weight)
    tokens_BT = torch.randint(50, (2, 17), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(ours(tokens_BT), theirs(tokens_BT).logits, atol=1e-5, rtol=0)


# Rotations.


def test_a_model_that_has_been_read_in_inference_mode_still_trains():
    model = encoder("rotary").train()
    with torch.inference_mode():
        model(EQUAL_ROWS_BT)
    model(EQUAL_ROWS_BT).sum().backward()
    assert model.embed.token.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("pairs", ["halves", "neighbours"])
def test_gradients_come_through_a_rotation_by_the_opposite_one(pairs):
    config = CoreConfig(head_size=6, rotary_share=0.67, position_pairs=pairs, heads=2)
    cosine, sine = (table.double() for table in RotaryTable(config)(torch.tensor([[0, 3, 1], [2, 2, 9]])))
    x_BTHD = torch.randn(2, 3, 2, 6, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: rotate(x, (cosine, sine), pairs), x_BTHD)
    assert torch.autograd.gradgradcheck(lambda x: rotate(x, (cosine, sine), pairs).square(), x_BTHD)
