"""Equalities that hold for the whole decoder, in both styles."""

import pytest
import torch
from torch import nn

from hanlin.base.errors import RequestError
from hanlin.model.attention import reference_attention
from hanlin.model.cache import KeyValueCache
from hanlin.model.decoder import Decoder
from hanlin.model.mask import self_mask

both_styles = pytest.mark.parametrize("style", ["llama", "gpt2"])


def close(a, b):
    torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


@both_styles
def test_later_tokens_change_no_earlier_logit(style, model, tokens):
    """Bit for bit, on the CPU."""
    decoder, x = model(style), tokens(2, 12)
    with torch.no_grad():
        before = decoder(x)
        changed = x.clone()
        changed[:, 7] = (changed[:, 7] + 1) % 50
        after = decoder(changed)
    assert torch.equal(before[:, :7], after[:, :7])
    assert (before[:, 7:] - after[:, 7:]).abs().amax(-1).min() > 1e-4  # every later one looks back


@both_styles
def test_gradients_flow_backward_in_time_only(style, model, tokens):
    decoder, x = model(style), tokens(1, 10)
    embedded = decoder.embed.token(x).detach().requires_grad_()
    decoder.embed.token.forward = lambda _: embedded
    decoder(x)[0, 4].sum().backward()
    reached = embedded.grad[0].abs().sum(-1) > 0
    assert reached.tolist() == [True] * 5 + [False] * 5


@both_styles
def test_packed_documents_equal_separate_documents(style, model, tokens):
    decoder = model(style)
    documents = [tokens(1, length, seed=length) for length in (5, 1, 8)]
    packed = torch.cat(documents, dim=1)
    positions = torch.cat([torch.arange(d.shape[1]) for d in documents]).unsqueeze(0)
    numbers = torch.cat([torch.full((d.shape[1],), n) for n, d in enumerate(documents)]).unsqueeze(0)
    with torch.no_grad():
        close(decoder(packed, positions, numbers), torch.cat([decoder(d) for d in documents], dim=1))
        assert (decoder(packed)[:, 5:] - decoder(packed, positions, numbers)[:, 5:]).abs().max() > 1e-2


@both_styles
@pytest.mark.parametrize("chunks", [[1] * 12, [5, 4, 3], [1, 7, 1, 3], [12]])
def test_cached_equals_uncached(style, chunks, model, tokens):
    decoder, x = model(style), tokens(3, 12)
    cache = KeyValueCache(decoder.config, rows=3, capacity=12)
    with torch.no_grad():
        pieces = [decoder(part, cache=cache) for part in x.split(chunks, dim=1)]
        close(torch.cat(pieces, dim=1), decoder(x))
    assert cache.lengths_B.tolist() == [12] * 3


@both_styles
def test_rows_of_unequal_length_decode_together(style, model, tokens):
    """Prefilled one by one, one of them after another text, then decoded as one batch in steps of 1 and 2."""
    decoder, lengths = model(style), [9, 2, 5]
    rows = [tokens(1, length + 5, seed=length) for length in lengths]
    cache = KeyValueCache(decoder.config, rows=4, capacity=16)
    with torch.no_grad():
        decoder(tokens(1, 14, seed=9), cache=cache.rows(0, 1))  # an older request leaves its values behind
        cache.lengths_B[0] = 0
        for row in (0, 1, 2):
            decoder(rows[row][:, : lengths[row]], cache=cache.rows(row, row + 1))
        assert cache.lengths_B.tolist() == [9, 2, 5, 0]
        found, done = [], 0
        for step in (1, 1, 2, 1):
            part = [r[:, n + done : n + done + step] for r, n in zip(rows, lengths, strict=True)]
            found.append(decoder(torch.cat(part), cache=cache.rows(0, 3)))
            done += step
        for row, (x, length) in enumerate(zip(rows, lengths, strict=True)):
            close(torch.cat(found, dim=1)[row], decoder(x)[0, length:])
    assert cache.lengths_B.tolist() == [14, 7, 10, 0]


@both_styles
def test_order_matters(style, model, tokens):
    """The last token sees the same set of tokens before it; a model without positions could not tell."""
    decoder, x = model(style, layers=1), tokens(1, 8)
    turned = torch.cat([x[:, :-1].flip(1), x[:, -1:]], dim=1)
    with torch.no_grad():
        assert (decoder(x)[:, -1] - decoder(turned)[:, -1]).abs().max() > 1e-3


@both_styles
def test_the_model_is_the_composition_of_its_parts(style, model, tokens):
    decoder, x_BT = model(style), tokens(2, 9)
    with torch.no_grad():
        x = decoder.embed(x_BT, None)
        rotation = None if decoder.rotary is None else decoder.rotary(9)
        for block in decoder.blocks:
            x = x + block.attention(block.attention_norm(x), self_mask(9, x.device, causal=True), rotation)
            x = x + block.ffn(block.ffn_norm(x))
        expected = decoder.norm(x) @ decoder.head.weight.T
        close(decoder(x_BT), expected)
        assert (decoder.hidden(x_BT) - x).abs().max() > 1e-3  # the final norm is there


@both_styles
def test_the_reference_path_gives_the_same_model(style, model, tokens):
    decoder, x = model(style), tokens(2, 9)
    numbers = torch.tensor([[0] * 4 + [1] * 5] * 2)
    with torch.no_grad():
        fused = [decoder(x), decoder(x, documents_BT=numbers)]
        for block in decoder.blocks:
            block.attention.attend = reference_attention
        close(decoder(x), fused[0])
        close(decoder(x, documents_BT=numbers), fused[1])


def test_tied_weights_are_one_tensor(config):
    tied, untied = Decoder(config(tied=True)), Decoder(config(tied=False))
    assert tied.head.weight is tied.embed.token.weight
    assert untied.head.weight is not untied.embed.token.weight


def test_dropout_acts_only_in_training(model, tokens):
    decoder, x = model("gpt2", dropout=0.3), tokens(1, 8)
    with torch.no_grad():
        assert torch.equal(decoder(x), decoder(x))
        decoder.train()
        assert not torch.equal(decoder(x), decoder(x))


@both_styles
def test_logits_are_float32_whatever_the_weights_are(style, model, tokens):
    assert model(style).to(torch.bfloat16)(tokens(1, 4)).dtype == torch.float32


@both_styles
def test_a_text_beyond_the_window_is_refused(style, model, tokens):
    decoder = model(style, window=8)
    decoder(tokens(1, 8))
    with pytest.raises(RequestError, match="9 tokens do not fit this model's window of 8"):
        decoder(tokens(1, 9))
    cache = KeyValueCache(decoder.config, rows=2, capacity=16)
    decoder(tokens(1, 7), cache=cache.rows(0, 1))
    decoder(tokens(2, 1), cache=cache)
    assert cache.lengths_B.tolist() == [8, 1]
    with pytest.raises(RequestError, match="9 tokens"):
        decoder(tokens(2, 1), cache=cache)
    assert cache.lengths_B.tolist() == [8, 1]  # nothing was appended


def test_the_parameters_are_those_that_the_style_names(config):
    llama = {name.split(".")[-1] for name, _ in Decoder(config("llama")).named_parameters()}
    assert llama == {"weight"}
    assert isinstance(Decoder(config("gpt2")).embed.position, nn.Embedding)
