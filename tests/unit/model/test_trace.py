"""What a trace shows is what the forward pass did."""

import pytest
import torch

from hanlin.base.errors import RequestError
from hanlin.model.attention import fused_attention
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from hanlin.model.encoder import Encoder
from hanlin.model.seq2seq import Seq2Seq
from hanlin.model.trace import trace_attention

SHAPE = {"vocab_size": 30, "width": 16, "layers": 3, "heads": 4, "window": 20}
TOKENS_1T = torch.tensor([[3, 1, 4, 1, 5, 9, 2]])
STYLES = [
    {"style": "gpt2"},
    {"style": "llama", "kv_heads": 2, "qk_norm": True},
    {"style": "llama", "kv_heads": 1, "attention_softcap": 3.0, "attention_scale": 0.7},
    {"style": "llama", "position": "alibi", "attention": ("full", "sliding"), "attention_window": 3},
    {"style": "bert"},
    {"style": "llama", "assembly": "encoder", "position": "relative", "norm_placement": "sandwich"},
]


def build(settings):
    torch.manual_seed(0)
    config = CoreConfig.model_validate({**SHAPE, **settings})
    model = (Encoder if config.assembly == "encoder" else Decoder)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


def close(a, b):
    torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


@pytest.mark.parametrize("settings", STYLES)
@torch.no_grad()
def test_the_heads_together_give_what_the_block_hands_on(settings):
    """Concat(mixed_1 .. mixed_H) W_O is the attention's output in an ordinary pass; each step follows from the last."""
    model, outputs = build(settings), []
    model.blocks[1].attention.register_forward_hook(
        lambda _module, inputs, out: outputs.append((inputs[0], out))
    )
    model(TOKENS_1T)
    traces = [trace_attention(model, TOKENS_1T, layer=1, head=head) for head in range(4)]
    read_BTC, out_BTC = outputs[0]
    close(
        model.blocks[1].attention.output(torch.cat([trace.mixed_TD for trace in traces], dim=-1)), out_BTC[0]
    )
    for trace in traces:
        assert torch.equal(trace.embedded_TC, model.embed(TOKENS_1T)[0])
        assert torch.equal(trace.read_TC, read_BTC[0])
        close(trace.scores_TT.softmax(-1), trace.weights_TT)
        close(trace.weights_TT.sum(-1), torch.ones(7))
        close(trace.weights_TT @ trace.v_TD, trace.mixed_TD)
    if model.causal:
        assert all((trace.weights_TT.triu(1) == 0).all() for trace in traces)
    else:
        assert all((trace.weights_TT > 0).all() for trace in traces)
    assert (traces[0].weights_TT - traces[1].weights_TT).abs().max() > 0.01


@torch.no_grad()
def test_scores_by_hand():
    trace = trace_attention(build(STYLES[0]), TOKENS_1T, layer=0, head=2)
    close(trace.scores_TT[4, 2], trace.q_TD[4] @ trace.k_TD[2] / 2)  # a head of 4 values
    assert trace.scores_TT[2, 4] == -torch.inf


@torch.no_grad()
def test_grouped_heads_show_the_keys_of_their_group():
    model = build(STYLES[1])
    keys = [trace_attention(model, TOKENS_1T, layer=1, head=head).k_TD for head in range(4)]
    assert torch.equal(keys[0], keys[1])
    assert torch.equal(keys[2], keys[3])
    assert not torch.equal(keys[0], keys[2])


@torch.no_grad()
def test_a_trace_leaves_the_model_as_it_was():
    model = build(STYLES[0])
    before = model(TOKENS_1T)
    trace_attention(model, TOKENS_1T, layer=2, head=0)
    with pytest.raises(RequestError):
        trace_attention(model, torch.zeros(1, 21, dtype=torch.long), layer=2, head=0)
    assert model.blocks[2].attention.attend is fused_attention
    assert not model.embed._forward_hooks
    assert not model.blocks[2].attention._forward_pre_hooks
    assert torch.equal(model(TOKENS_1T), before)


@torch.no_grad()
def test_the_encoder_of_an_encoder_decoder_can_be_traced():
    model = Seq2Seq(CoreConfig.model_validate({**SHAPE, "style": "transformer"})).eval()
    trace = trace_attention(model.encoder, TOKENS_1T, layer=0, head=0)
    close(trace.weights_TT @ trace.v_TD, trace.mixed_TD)


@pytest.mark.parametrize(
    ("layer", "head", "sentence"),
    [
        (3, 0, "There is no layer 3: the model has 3."),
        (-1, 0, "no layer -1"),
        (0, 4, "There is no head 4: the model has 4."),
    ],
)
def test_a_layer_or_head_that_is_not_there_is_named(layer, head, sentence):
    with pytest.raises(RequestError) as caught:
        trace_attention(build(STYLES[0]), TOKENS_1T, layer, head)
    assert sentence in caught.value.problem.en
    assert caught.value.problem.zh != caught.value.problem.en
