import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch.utils.flop_counter import FlopCounterMode

from hanlin.model import count
from hanlin.model.attention import reference_attention
from hanlin.model.cache import KeyValueCache
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder


@st.composite
def core_configs(draw):
    kv_heads = draw(st.integers(1, 3))
    heads = kv_heads * draw(st.integers(1, 3))
    chosen = {
        "heads": heads,
        "kv_heads": kv_heads,
        "head_size": 2 * draw(st.integers(1, 4)),
        "width": draw(st.integers(1, 20)),
        "ffn_width": draw(st.integers(1, 20)),
        "layers": draw(st.integers(1, 3)),
        "vocab_size": draw(st.integers(2, 40)),
        "window": draw(st.integers(4, 16)),
        "position": draw(st.sampled_from(["rotary", "learned"])),
        "norm": draw(st.sampled_from(["rms", "layer"])),
        "activation": draw(st.sampled_from(["silu", "gelu", "gelu_tanh", "relu"])),
        "dropout": draw(st.sampled_from([0.0, 0.1])),
        **{name: draw(st.booleans()) for name in ("gated", "bias", "tied")},
    }
    return CoreConfig.model_validate({"style": draw(st.sampled_from(["gpt2", "llama"])), **chosen})


@settings(max_examples=60, deadline=None)
@given(core=core_configs())
def test_any_valid_config_is_a_model_that_trains(core, tokens):
    torch.manual_seed(0)
    decoder = Decoder(core)
    assert count.parameters(core) == sum(parameter.numel() for parameter in decoder.parameters())
    x = tokens(2, 4, vocab_size=core.vocab_size)
    logits = decoder(x)
    assert logits.shape == (2, 4, core.vocab_size)
    logits.square().sum().backward()
    assert logits.isfinite().all()
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@settings(max_examples=60, deadline=None)
@given(core_configs())
def test_a_config_survives_its_own_json(core):
    assert CoreConfig.model_validate_json(core.model_dump_json()) == core


def test_what_is_not_given_follows_from_width_and_style():
    llama = CoreConfig.model_validate({"width": 96, "heads": 6})
    assert (llama.kv_heads, llama.head_size, llama.ffn_width) == (6, 16, 256)  # 8/3 x 96 = 256
    assert (llama.position, llama.norm, llama.activation) == ("rotary", "rms", "silu")
    assert (llama.gated, llama.qkv_bias, llama.ffn_bias) == (True, False, False)
    gpt2 = CoreConfig.model_validate({"style": "gpt2", "width": 96, "heads": 6})
    assert gpt2.ffn_width == 384
    assert (gpt2.position, gpt2.norm, gpt2.activation) == ("learned", "layer", "gelu_tanh")
    assert (gpt2.gated, gpt2.qkv_bias, gpt2.output_bias, gpt2.ffn_bias, gpt2.norm_bias) == (
        False,
        True,
        True,
        True,
        True,
    )
    assert CoreConfig.model_validate({"width": 104, "heads": 4}).ffn_width == 320  # 277.3 up to 64s


def test_each_setting_can_be_given_beside_the_style():
    mixed = CoreConfig.model_validate({"style": "gpt2", "position": "rotary", "kv_heads": 1, "gated": True})
    assert (mixed.position, mixed.norm, mixed.kv_heads, mixed.ffn_width) == ("rotary", "layer", 1, 704)
    assert "style" not in mixed.model_dump()


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"width": 10, "heads": 3}, "width 10 is not divisible by heads 3"),
        ({"heads": 4, "kv_heads": 3}, "heads 4 is not divisible by kv_heads 3"),
        ({"heads": 2, "kv_heads": 4}, "heads 2 is not divisible by kv_heads 4"),
        (
            {"width": 12, "heads": 4},
            "head_size 3 (rotary_share 1) gives 3 values to turn; rotary positions turn pairs",
        ),
        ({"style": "gpt3"}, "style 'gpt3' is not known; choose one of llama, gpt2"),
        ({"style": None}, "style None is not known"),
        ({"heads": 0}, "heads\n"),
        ({"width": -8}, "width\n"),
        ({"width": "wide"}, "width\n"),
        ({"width": 2.5}, "width\n"),
        ({"window": 1}, "window\n"),
        ({"norm_eps": 0}, "norm_eps\n"),
        ({"dropout": 1.0}, "dropout\n"),
        ({"norm": "batch"}, "'rms' or 'layer'"),
        ({"n_layers": 3}, "Extra inputs are not permitted"),
    ],
)
def test_impossible_settings_are_refused_with_a_sentence(wrong, sentence):
    with pytest.raises(ValidationError) as caught:
        CoreConfig.model_validate(wrong)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("style", ["llama", "gpt2"])
def test_floating_point_operations_are_those_that_torch_counts(style, config, tokens):
    """Torch counts two for each multiply-add of every matrix product, as we do, and the whole (T, T) square of
    scores. We count the pairs that a causal query sees: T (T + 1) / 2 of the T x T. The rest is equal to the last digit.
    """
    core = config(style)
    B, T = 2, 12
    decoder = Decoder(core)
    for block in decoder.blocks:
        block.attention.attend = reference_attention  # plain products, which torch counts everywhere
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        decoder(tokens(B, T))
    square = B * core.layers * 4 * core.heads * core.head_size * T * T
    seen = square * (T + 1) // (2 * T)
    assert counter.get_total_flops() - square == 2 * count.matmul_parameters(core) * B * T
    assert count.forward_flops_per_token(core, T) * B * T == counter.get_total_flops() - square + seen


@pytest.mark.parametrize("style", ["llama", "gpt2"])
def test_training_costs_three_forward_passes(style, config, tokens):
    """Each product of the forward pass needs two in the backward pass: for its input and for its weights."""
    core = config(style, layers=4)
    decoder = Decoder(core)
    for block in decoder.blocks:
        block.attention.attend = reference_attention
    with FlopCounterMode(display=False) as forward:
        logits = decoder(tokens(2, 12))
    with FlopCounterMode(display=False) as backward:
        logits.sum().backward()
    assert backward.get_total_flops() == 2 * forward.get_total_flops()
    assert count.training_flops_per_token(core, 12) == 3 * count.forward_flops_per_token(core, 12)


@settings(max_examples=20, deadline=None)
@given(core_configs(), st.integers(1, 4), st.integers(1, 9), st.sampled_from([torch.float32, torch.bfloat16]))
def test_cache_bytes_are_those_of_the_cache(core, rows, capacity, dtype):
    cache = KeyValueCache(core, rows, capacity, dtype=dtype)
    assert count.cache_bytes_per_token(core, dtype.itemsize) * rows * capacity == cache.nbytes


def test_the_published_size_of_gpt2_small():
    small = CoreConfig.model_validate(
        {"style": "gpt2", "vocab_size": 50257, "width": 768, "layers": 12, "heads": 12, "window": 1024}
    )
    assert count.parameters(small) == 124_439_808


def test_the_published_size_of_llama_2_7b():
    llama = CoreConfig.model_validate(
        {"vocab_size": 32000, "width": 4096, "layers": 32, "heads": 32, "ffn_width": 11008, "tied": False}
    )
    assert count.parameters(llama) == 6_738_415_616
