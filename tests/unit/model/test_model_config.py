import itertools
import json

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch.utils.flop_counter import FlopCounterMode

from hanlin.base.config import validate_settings
from hanlin.base.errors import ConfigError
from hanlin.checkpoint.family import express
from hanlin.checkpoint.recognize import FAMILIES
from hanlin.checkpoint.weights import read_weights, write_weights
from hanlin.model import count
from hanlin.model.assemble import build_empty, build_model
from hanlin.model.attention import Attention, reference_attention
from hanlin.model.cache import KeyValueCache
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from hanlin.model.mask import self_mask

HEADS = {
    "decoder": ["lm", "none", "classify", "tag", "regress"],
    "encoder": ["masked", "none", "pretraining", "classify", "tag", "regress"],
    "seq2seq": ["lm"],
}
SCALINGS = st.one_of(
    st.builds(dict, kind=st.just("linear"), factor=st.floats(1, 8)),
    st.builds(dict, kind=st.just("llama3"), factor=st.floats(1, 8), original_window=st.integers(2, 99)),
    st.builds(
        dict,
        kind=st.just("yarn"),
        factor=st.floats(1, 8),
        original_window=st.integers(2, 99),
        truncate=st.booleans(),
        attention_factor=st.none() | st.floats(0.5, 2),
    ),
)


@st.composite
def core_configs(draw):
    """Any valid configuration of a tiny model, over every field."""
    assembly, position = (
        draw(st.sampled_from(list(HEADS))),
        draw(st.sampled_from(["rotary", "learned", "sinusoidal", "relative", "alibi", "none"])),
    )
    kv_heads, layers, window = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(6, 16))
    chosen = {
        "assembly": assembly,
        "position": position,
        "heads": kv_heads * draw(st.integers(1, 3)),
        "kv_heads": kv_heads,
        "head_size": 4 * draw(st.integers(1, 2)) if position == "rotary" else draw(st.integers(1, 8)),
        "width": draw(st.integers(1, 20)),
        "ffn_width": draw(st.integers(1, 20)),
        "layers": layers,
        "decoder_layers": draw(st.integers(1, 3)) if assembly == "seq2seq" else layers,
        "vocab_size": draw(st.integers(2, 40)),
        "window": window,
        "position_pairs": draw(st.sampled_from(["halves", "neighbours"])),
        "norm": draw(st.sampled_from(["rms", "layer"])),
        "norm_eps": draw(st.sampled_from([1e-6, 1e-5, 0.1])),
        "norm_placement": draw(st.sampled_from(["pre", "post", "sandwich"])),
        "activation": draw(st.sampled_from(["silu", "gelu", "gelu_tanh", "relu"])),
        "segments": draw(st.sampled_from([0, 2])),
        "pooling": draw(st.sampled_from(["first", "last", "mean"])),
        "dropout": draw(st.sampled_from([0.0, 0.1])),
        "attention_dropout": draw(st.sampled_from([0.0, 0.2])),
        "attention": draw(
            st.lists(st.sampled_from(["full", "sliding", "block", "global"]), min_size=1, max_size=3)
        ),
        "attention_window": draw(st.integers(2, 7)),
        "global_tokens": draw(st.integers(1, 2)),
        "embedding_scale": draw(st.sampled_from([1.0, 3.5])),
        **{
            name: draw(st.none() | st.floats(0.1, 9))
            for name in ("attention_scale", "attention_softcap", "logit_softcap")
        },
        **{
            name: draw(st.booleans())
            for name in (
                "gated",
                "tied",
                "qk_norm",
                "embedding_norm",
                "qkv_bias",
                "output_bias",
                "ffn_bias",
                "head_bias",
            )
        },
    }
    chosen["norm_bias" if chosen["norm"] == "layer" else "norm_unit_offset"] = draw(st.booleans())
    if position == "rotary":
        chosen["rotary_share"] = draw(st.sampled_from([0.5, 1.0]))
        chosen["rope_theta"] = draw(st.sampled_from([50.0, 10000.0]))
        chosen["rope_theta_local"] = draw(st.none() | st.just(100.0))
        chosen["rope_scaling"] = draw(st.none() | SCALINGS)
    if position == "learned":
        chosen["position_offset"] = draw(st.integers(0, 2))
    if position == "relative":
        chosen["relative_buckets"] = draw(st.integers(4, 9))
        chosen["relative_max_distance"] = draw(st.integers(5, 20))
    if draw(st.booleans()):
        chosen["experts"] = draw(st.integers(1, 4))
        chosen["experts_per_token"] = draw(st.integers(1, chosen["experts"]))
        chosen["expert_width"] = draw(st.integers(1, 9))
        chosen["router_normalize"] = draw(st.booleans())
        chosen["router_loss"] = draw(st.sampled_from([0.0, 0.01]))
        chosen["dense_layers"] = draw(st.lists(st.integers(0, layers - 1), unique=True))
    head = chosen["head"] = draw(st.sampled_from(HEADS[assembly]))
    chosen["labels"] = draw(st.integers(1, 3)) if head in ("classify", "tag") else 0
    if head not in ("lm", "masked"):
        chosen["pooler"] = draw(
            st.sampled_from(["none", "tanh", "transform"] if assembly == "encoder" else ["none", "transform"])
        )
    if chosen["tied"]:
        chosen["head_scale"] = draw(st.sampled_from([1.0, 0.25]))
    return CoreConfig.model_validate(chosen)


def everything(model, x_BT):
    """All that a model says, through every part of it."""
    if model.config.assembly == "seq2seq":
        return [model(x_BT, x_BT)]
    segments_BT = x_BT % model.config.segments if model.config.segments else None
    said = [model(x_BT, segments_BT=segments_BT)]
    if model.config.head == "pretraining":
        said.append(model.next_sentence_logits(model.hidden(x_BT)))
    if model.config.head == "none":
        said.append(model.pooled(said[0]))
    return said


@settings(max_examples=80, deadline=None)
@given(core=core_configs())
def test_any_valid_config_is_a_model_that_trains(core, tokens):
    torch.manual_seed(0)
    model = build_model(core)
    assert count.parameters(core) == sum(parameter.numel() for parameter in model.parameters())
    said = everything(model, tokens(2, 5, vocab_size=core.vocab_size))
    assert all(values.isfinite().all() for values in said)
    sum(values.square().sum() for values in said).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None or ".experts." in name, name  # no token may have chosen an expert
        assert parameter.grad is None or parameter.grad.isfinite().all(), name


@settings(max_examples=60, deadline=None)
@given(core=core_configs(), split=st.integers(1, 5))
def test_any_model_says_the_same_of_a_text_cached_packed_padded_or_by_the_formula(core, split, tokens):
    """The first text of six tokens, once alone and once after another text and before padding."""
    assume(core.assembly != "seq2seq")
    torch.manual_seed(0)
    model = build_model(core).eval()
    x_BT, before = tokens(2, 6, vocab_size=core.vocab_size), core.window - 6
    documents_T = torch.tensor([3] * min(before, split) + [5] * 6 + [-1] * max(0, before - split))
    positions_T = torch.cat(
        [torch.arange(int(n)) for n in documents_T.unique_consecutive(return_counts=True)[1]]
    )
    at = min(before, split)
    longer_BT = tokens(2, core.window, seed=4, vocab_size=core.vocab_size)
    longer_BT[:, at : at + 6] = x_BT
    with torch.no_grad():
        alone = model.hidden(x_BT)
        packed = model.hidden(longer_BT, positions_T.expand(2, -1), documents_T.expand(2, -1))[:, at : at + 6]
        others = [packed]
        if core.assembly == "decoder":
            cache = KeyValueCache(core, 2, 6)
            others.append(
                torch.cat([model.hidden(part, cache=cache) for part in x_BT.split([split, 6 - split], 1)], 1)
            )
        for block in model.blocks:
            block.attention.attend = reference_attention
        others.append(model.hidden(x_BT))
    for other in others:
        torch.testing.assert_close(other, alone, atol=1e-4, rtol=1e-4)


@settings(max_examples=60, deadline=None)
@given(core_configs())
def test_a_config_survives_its_own_json(core):
    assert CoreConfig.model_validate_json(core.model_dump_json()) == core
    assert CoreConfig.model_validate(json.loads(core.model_dump_json())) == core


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(core=core_configs())
def test_what_a_family_can_express_comes_back_the_same(core, tmp_path_factory):
    fitting = {name: express(core, family) for name, family in FAMILIES.items()}
    assert fitting["hanlin"] is not None
    model, folder = build_model(core), tmp_path_factory.mktemp("weights")
    for name, values in fitting.items():
        if values is not None:
            family = FAMILIES[name]
            assert express(core, family) == json.loads(json.dumps(values))
            write_weights(folder, model, family)
            again = build_empty(core, torch.device("cpu"))
            read_weights(folder, again, family)
            ours = dict(model.named_parameters())
            assert all(torch.equal(value, ours[parameter]) for parameter, value in again.named_parameters())


def test_every_family_is_met_by_some_config():
    """So that the test above is about them all: what a family writes for its own kind of model is read back."""
    rotary = {"style": "llama", "vocab_size": 30, "width": 16, "heads": 2}
    assert express(CoreConfig.model_validate(rotary), FAMILIES["llama"]) is not None
    assert express(CoreConfig.model_validate({**rotary, "style": "gpt2"}), FAMILIES["gpt2"]) is not None
    assert express(CoreConfig.model_validate({**rotary, "position": "alibi"}), FAMILIES["llama"]) is None


@settings(max_examples=40, deadline=None)
@given(core_configs(), st.integers(1, 6))
def test_floating_point_operations_are_those_that_torch_counts(core, T):
    """Torch counts two for each multiply-add of every matrix product, as we do, and the whole (T, T) square of
    scores, of which we count the pairs that may be seen. The rest is equal to the last digit.
    """
    assume(core.head not in ("classify", "regress"))  # these judge each text once, not each token
    model, x_BT = build_model(core).eval(), torch.zeros(2, T, dtype=torch.long)
    for module in model.modules():
        if isinstance(module, Attention):
            module.attend = reference_attention  # plain products, which torch counts everywhere
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(*([x_BT, x_BT] if core.assembly == "seq2seq" else [x_BT]))
    attentions = core.layers + (2 * core.decoder_layers if core.assembly == "seq2seq" else 0)
    causal = core.assembly == "decoder"
    seen = sum(count.visible_keys(core, layer, T, causal) for layer in range(core.layers))
    if core.assembly == "seq2seq":
        seen += sum(count.visible_keys(core, layer, T, True) + T for layer in range(core.decoder_layers))
    found, square = counter.get_total_flops(), 4 * core.heads * core.head_size * 2 * T
    assert found == 2 * count.matmul_parameters(core) * 2 * T + square * attentions * T
    counted = count.forward_flops_per_token(core, T) * 2 * T + square * (attentions * T - seen)
    assert counted == pytest.approx(found, abs=T)  # ours is rounded to a whole number for each token


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("pattern", ["full", "sliding", "block", "global"])
def test_visible_keys_are_those_that_the_mask_allows(pattern, causal):
    for window, shared, T in itertools.product(range(2, 6), range(1, 3), range(1, 15)):
        core = CoreConfig(attention=(pattern,), attention_window=window, global_tokens=shared)
        mask = self_mask(T, torch.device("cpu"), causal=causal).narrowed(core, pattern)
        assert count.visible_keys(core, 0, T, causal) * T == pytest.approx(mask.allowed_BTS.sum().item())


BROKEN = [
    ({"heads": 6, "kv_heads": 4}, "is not divisible by kv_heads"),
    ({"position": "rotary", "head_size": 4, "rotary_share": 0.3}, "rotary positions turn pairs"),
    ({"position": "alibi", "rope_theta_local": 5.0}, "need position rotary"),
    ({"position": "none", "rope_theta_local": None, "rope_scaling": {"kind": "linear", "factor": 2}}, "need position rotary"),
    ({"position": "sinusoidal", "rope_scaling": None, "rope_theta_local": None, "position_offset": 2}, "needs position learned"),
    ({"norm": "rms", "norm_bias": True}, "norm_bias needs norm layer"),
    ({"norm": "layer", "norm_unit_offset": True}, "norm_unit_offset needs norm rms"),
    ({"attention": ["sliding", "full"], "attention_window": None}, "needs attention_window"),
    ({"attention": ["global"], "attention_window": 4, "global_tokens": 0}, "needs global_tokens"),
    ({"attention": ["block"], "attention_window": 4, "global_tokens": 5}, "is more than a block"),
    ({"attention": []}, "attention\n"),
    ({"attention": ["dense"]}, "attention.0\n"),
    ({"experts": 2, "experts_per_token": 3}, "is more than experts 2"),
    ({"experts": 2, "experts_per_token": 1, "dense_layers": [-1]}, "are not all among the blocks"),
    ({"experts": 2, "experts_per_token": 1, "dense_layers": [3]}, "are not all among the blocks"),
    ({"assembly": "decoder", "head": "masked", "pooler": "none"}, "does not fit assembly decoder"),
    ({"assembly": "seq2seq", "head": "tag", "pooler": "none"}, "does not fit assembly seq2seq"),
    ({"assembly": "encoder", "head": "tag", "labels": 0, "pooler": "none"}, "needs labels"),
    ({"assembly": "decoder", "head": "classify", "labels": 2, "pooler": "tanh"}, "needs assembly encoder"),
    ({"assembly": "encoder", "head": "masked", "pooler": "tanh"}, "has no use for a pooler"),
    ({"tied": False, "head_scale": 0.5}, "head_scale needs tied"),
    ({"position": "relative", "rope_scaling": None, "rope_theta_local": None, "position_offset": 0,
      "relative_buckets": 20, "relative_max_distance": 9}, "must be above half of relative_buckets"),
    ({"rope_scaling": {"kind": "llama3", "factor": 2}}, "needs original_window"),
    ({"rope_scaling": {"kind": "llama3", "factor": 2, "original_window": 8, "low_freq_factor": 5}}, "must be above low_freq"),
    ({"rope_scaling": {"kind": "yarn", "factor": 2, "original_window": 8, "beta_fast": 1}}, "must be above beta_slow"),
    ({"rope_scaling": {"kind": "yarn", "factor": 0.5, "original_window": 8}}, "rope_scaling.factor\n"),
    ({"assembly": ["decoder"]}, "assembly\n"),
    ({"rope_theta": float("inf")}, "finite number"),
    ({"attention_scale": float("nan")}, "attention_scale\n"),
    ({"width": 2**31}, "must be at most 2147483647"),
    ({"style": "transformer", "width": 10**400}, "must be at most 2147483647"),
    ({"width": "64"}, "width\n"),
    ({"gated": "no"}, "gated\n"),
    ({"layers": 2.0}, "layers\n"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "sentence"), BROKEN, ids=[str(number) for number in range(len(BROKEN))])
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(core_configs())
def test_breaking_one_rule_of_any_config_is_refused_with_a_sentence(wrong, sentence, core):
    with pytest.raises(ValidationError) as caught:
        CoreConfig.model_validate({**core.model_dump(), **wrong})
    assert sentence in str(caught.value)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.binary(max_size=2)
    | st.sampled_from([0, -1, 10**400, "llama", "full", "linear", 2**63]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.just("kind"), inner, max_size=3),
    max_leaves=4,
)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([*CoreConfig.model_fields, *CoreConfig.shorthands, "other"]), JUNK, max_size=6
    )
)
def test_junk_is_a_config_or_is_refused_and_never_anything_else(values):
    try:
        core = CoreConfig.model_validate(values)
    except ValidationError:
        with pytest.raises(ConfigError) as caught:
            validate_settings(CoreConfig, values, where="recipe.yaml")
        assert caught.value.problem.en.startswith("recipe.yaml")
        assert caught.value.problem.zh
    else:
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
