"""Attention and layers: what is often written wrong fails the property that the right formula has (docs/errata.md)."""

import math

import pytest
import torch
from pydantic import ValidationError

from hanlin.model.attention import Attention, attention_weights
from hanlin.model.block import Block
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from hanlin.model.encoder import Encoder
from hanlin.model.initialize import initialize
from hanlin.model.mask import self_mask
from hanlin.model.position import SinusoidalTable
from hanlin.model.seq2seq import Seq2Seq
from hanlin.model.stack import Stack

CPU = torch.device("cpu")


def core(**settings):
    return CoreConfig.model_validate(
        {"vocab_size": 50, "width": 16, "heads": 4, "layers": 2, "window": 16, **settings}
    )


def scatter(module):
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.4)
    return module.eval()


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_e05_scores_keep_unit_variance():
    D = 256
    q, k = normal(1, 1, 400, D), normal(1, 1, 400, D, seed=1)
    wrong = q @ k.transpose(-1, -2)
    right = attention_weights(q, k, self_mask(400, CPU, causal=False)).log()
    right = right - right.mean(-1, keepdim=True)  # the scores, but for a constant in each row
    assert wrong.var().item() > 200
    assert right.var().item() == pytest.approx(1.0, abs=0.1)


def test_e06_the_sum_below_runs_over_its_own_index():
    scores = normal(1, 6, seed=2)
    wrong = scores.exp() / sum(scores.exp() for _ in range(6))  # the numerator's j, six times
    right = attention_weights(
        scores.view(1, 1, 6, 1), torch.ones(1, 1, 6, 1), self_mask(6, CPU, causal=False)
    )
    assert torch.allclose(wrong, torch.full_like(wrong, 1 / 6))  # blind to the scores
    torch.testing.assert_close(right.sum(-1), torch.ones(1, 1, 6))


def test_e07_no_later_token_is_seen():
    attention = scatter(Attention(core()))
    x = normal(1, 8, 16)
    changed = x.clone()
    changed[:, 5:] += 1
    with torch.no_grad():
        for causal, unchanged in ((True, True), (False, False)):
            mask = self_mask(8, CPU, causal=causal)
            first, second = attention(x, mask)[:, :5], attention(changed, mask)[:, :5]
            assert torch.equal(first, second) == unchanged


def test_e08_a_block_is_more_than_a_feed_forward_layer():
    block = scatter(Block(core(), layer=0))
    x, mask = normal(2, 5, 16), self_mask(5, CPU, causal=True)
    with torch.no_grad():
        mixed = block.attention(block.attention_norm(x), mask)
        by_hand = x + mixed
        by_hand = by_hand + block.ffn(block.ffn_norm(by_hand))
        wrong = block.ffn(mixed)
        torch.testing.assert_close(block(x, mask), by_hand)
        assert (block(x, mask) - wrong).abs().max() > 0.1
        block.attention.output.weight.zero_()
        block.ffn.down.weight.zero_()
        torch.testing.assert_close(block(x, mask), x)  # the residual path alone: the wrong form gives zero


def test_e09_queries_keys_and_values_are_projections_of_the_input():
    attention = scatter(Attention(core(width=16, heads=2, head_size=6, kv_heads=1)))
    x = normal(3, 7, 16)
    assert attention.queries(x).shape == (3, 2, 7, 6)
    assert [part.shape for part in attention.keys_values(x)] == [(3, 1, 7, 6)] * 2
    with torch.no_grad():
        torch.testing.assert_close(
            attention.queries(x), (x @ attention.query.weight.T).view(3, 7, 2, 6).transpose(1, 2)
        )


def test_e10_layers_are_composed_not_added_up():
    model = scatter(Encoder(core(assembly="encoder", head="none")))
    x = torch.randint(50, (2, 6), generator=torch.Generator().manual_seed(0))
    mask = self_mask(6, CPU, causal=False)
    with torch.no_grad():
        embedded, rotation = model.embed(x), model.rotary(6)
        composed = model.norm(model.blocks[1](model.blocks[0](embedded, mask, rotation), mask, rotation))
        added = model.norm(sum(block(embedded, mask, rotation) for block in model.blocks))
        torch.testing.assert_close(model(x), composed)
        assert (model(x) - added).abs().max() > 0.1


def test_e11_positions_enter_once():
    """With every sub-layer silenced, the stream through all layers is the embedding with one table, not three."""
    stack = scatter(Stack(core(position="sinusoidal"), layers=3, causal=True))
    stack.norm = torch.nn.Identity()
    x = torch.randint(50, (1, 6), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for block in stack.blocks:
            block.attention.output.weight.zero_()
            block.ffn.down.weight.zero_()
        once = stack.embed.token(x) + stack.embed.position.table_TC[:6]
        torch.testing.assert_close(stack.hidden(x), once)


def test_e12_heads_are_split_and_a_masked_key_weighs_nothing():
    attention = scatter(Attention(core()))
    x = normal(1, 6, 16)
    weights = attention_weights(
        attention.queries(x), attention.keys_values(x)[0], self_mask(6, CPU, causal=True)
    )
    assert weights.shape == (1, 4, 6, 6)
    assert (weights[0, 0] - weights[0, 1]).abs().max() > 0.01  # four heads, not one
    assert (weights.triu(1) == 0).all()


def test_e13_the_decoder_looks_at_the_encoder():
    model = scatter(Seq2Seq(core(style="transformer", layers=1)))
    target = torch.tensor([[1, 2, 3]])
    with torch.no_grad():
        one, other = model(torch.tensor([[4, 5, 6]]), target), model(torch.tensor([[4, 9, 6]]), target)
        assert (one - other).abs().max() > 1e-3
        model.decoder.blocks[0].cross.output.weight.zero_()  # as if the layer had no cross-attention
        model.decoder.blocks[0].cross.output.bias.zero_()
        one, other = model(torch.tensor([[4, 5, 6]]), target), model(torch.tensor([[4, 9, 6]]), target)
        assert torch.equal(one, other)


def test_e30_order_is_visible_in_a_batch():
    table = SinusoidalTable(10, 8, "neighbours")
    x = normal(1, 5, 8).expand(3, -1, -1)  # the same row three times

    def right(x):
        return x + table(torch.arange(x.shape[1]))

    def wrong(x):
        return x + table.table_TC.unsqueeze(1)[: x.shape[0]]  # (max, 1, d) against (batch, time, d)

    assert torch.equal(right(x)[0], right(x)[2])  # equal rows stay equal
    assert not torch.equal(wrong(x)[0], wrong(x)[2])
    turned = x.flip(1)
    # Turning the words round and back gives another result only where positions are seen.
    assert not torch.allclose(right(turned).flip(1), right(x))
    assert torch.allclose(wrong(turned).flip(1), wrong(x))


@pytest.mark.parametrize("width", [7, 8, 1])
def test_e31_odd_widths_and_the_end_of_the_table(width):
    table = SinusoidalTable(6, width, "neighbours").table_TC
    assert table.shape == (6, width)
    assert table[3, 0].item() == pytest.approx(math.sin(3))
    if width > 1:
        assert table[3, 1].item() == pytest.approx(math.cos(3))
    wrong = torch.empty(6, 7)
    with pytest.raises(RuntimeError):
        wrong[:, 1::2] = torch.empty(6, 4)  # as many cosines as sines do not fit


def test_e32_heads_must_divide_the_width_and_attention_can_drop():
    with pytest.raises(ValidationError, match="width 10 is not divisible by heads 4"):
        core(width=10)
    attention = scatter(Attention(core(attention_dropout=0.5))).train()
    x, mask = normal(1, 6, 16), self_mask(6, CPU, causal=True)
    assert not torch.equal(attention(x, mask), attention(x, mask))
    assert torch.equal(attention.eval()(x, mask), attention(x, mask))


def test_e33_a_complete_transformer_learns_to_copy():
    """Embedding, positions, mask, final norm and head are all there: the second half repeats the first."""
    torch.manual_seed(0)
    model = Decoder(core(vocab_size=12, width=32, position="learned"))
    initialize(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(300):
        half = torch.randint(12, (32, 5))
        text = torch.cat((half, half), dim=1)
        logits = model(text[:, :-1])
        loss = torch.nn.functional.cross_entropy(logits[:, 4:].flatten(0, 1), text[:, 5:].flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    half = torch.randint(12, (50, 5))
    text = torch.cat((half, half), dim=1)
    with torch.no_grad():
        right = model.eval()(text[:, :-1])[:, 4:].argmax(-1) == text[:, 5:]
    assert right.float().mean() > 0.95
