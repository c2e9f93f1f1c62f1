"""The decoder families against `transformers`, both ways, on tiny random weights in float32."""

import json

import pytest
import torch
import transformers
from safetensors.torch import load_file
from tests.tiny import CPU, close, damage, edit, scatter
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

from hanlin.base.errors import CheckpointError
from hanlin.batches.batch import Batch
from hanlin.checkpoint.defaults import GenerationDefaults
from hanlin.checkpoint.folder import open_model, save_model
from hanlin.checkpoint.recognize import FAMILIES, read_config
from hanlin.model.cache import KeyValueCache
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from hanlin.model.position import RotaryTable
from hanlin.objective.causal import Causal
from hanlin.tokenizer.bpe import save_trained, train_bpe
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.tokenizer import Tokenizer

IDS_BT = torch.randint(3, 300, (2, 24), generator=torch.Generator().manual_seed(1))
PAD = 1
LENGTHS = (24, 15)
LEFT_BT = torch.arange(24) >= 24 - torch.tensor(LENGTHS)[:, None]

SHAPE = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4,
         "num_key_value_heads": 2, "intermediate_size": 48, "max_position_embeddings": 64,
         "pad_token_id": PAD}  # fmt: skip
GPT2 = {"vocab_size": 300, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64, "pad_token_id": PAD,
        "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}  # fmt: skip
STEMS = {"GPT2": GPT2, "Gemma3": {**SHAPE, "head_dim": 16, "sliding_window": 5}, "Glm4": {**SHAPE, "head_dim": 16},
         "Qwen3": {**SHAPE, "head_dim": 16}, "Mixtral": {**SHAPE, "num_local_experts": 4},
         "Qwen3Moe": {**SHAPE, "head_dim": 16, "num_experts": 4, "num_experts_per_tok": 2,
                      "moe_intermediate_size": 12}}  # fmt: skip

ALTERNATING = ["sliding_attention", "full_attention", "sliding_attention"]
LINEAR = {"rope_type": "linear", "factor": 2.5, "rope_theta": 500.0}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 32, "rope_theta": 500.0}  # fmt: skip
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "rope_theta": 500.0}

MODELS = {
    "gpt2": ("GPT2LMHeadModel", {}),
    "gpt2, untied": ("GPT2LMHeadModel", {"tie_word_embeddings": False, "n_inner": 40}),
    "gpt2, bare": ("GPT2Model", {}),
    "gpt2, labels": ("GPT2ForSequenceClassification", {"num_labels": 3}),
    "gpt2, one number": ("GPT2ForSequenceClassification", {"num_labels": 1}),
    "gpt2, tags": ("GPT2ForTokenClassification", {"num_labels": 4}),
    "llama": ("LlamaForCausalLM", {}),
    "llama, as SmolLM2": (
        "LlamaForCausalLM",
        {"tie_word_embeddings": True, "rms_norm_eps": 1e-5, "num_key_value_heads": 1},
    ),
    "llama, biases": ("LlamaForCausalLM", {"attention_bias": True, "mlp_bias": True}),
    "llama, gelu": ("LlamaForCausalLM", {"hidden_act": "gelu"}),
    "llama, linear": ("LlamaForCausalLM", {"rope_parameters": LINEAR}),
    "llama, llama3": ("LlamaForCausalLM", {"head_dim": 16, "rope_parameters": LLAMA3}),
    "llama, yarn": ("LlamaForCausalLM", {"head_dim": 16, "rope_parameters": YARN}),
    "llama, yarn in full": (
        "LlamaForCausalLM",
        {"head_dim": 16, "rope_parameters": {**YARN, "beta_fast": 8.0, "beta_slow": 2.0, "truncate": False,
                                             "mscale": 0.7, "mscale_all_dim": 1.0}},
    ),
    "llama, bare": ("LlamaModel", {}),
    "llama, labels": ("LlamaForSequenceClassification", {"num_labels": 3}),
    "llama, several labels": (
        "LlamaForSequenceClassification",
        {"id2label": {0: "a", 1: "b", 2: "c"}, "problem_type": "multi_label_classification"},
    ),
    "llama, one number": ("LlamaForSequenceClassification", {"num_labels": 1}),
    "llama, tags": ("LlamaForTokenClassification", {"num_labels": 4}),
    "mistral": ("MistralForCausalLM", {"sliding_window": 5}),
    "mistral, full": ("MistralForCausalLM", {"sliding_window": None}),
    "mistral, labels": ("MistralForSequenceClassification", {"sliding_window": 5, "num_labels": 3}),
    "qwen2": ("Qwen2ForCausalLM", {}),
    "qwen2, sliding from the second layer": (
        "Qwen2ForCausalLM",
        {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1},
    ),
    "qwen2, listed layers": (
        "Qwen2ForCausalLM",
        {"use_sliding_window": True, "sliding_window": 5, "layer_types": ALTERNATING},
    ),
    "qwen2, one number": ("Qwen2ForSequenceClassification", {"num_labels": 1}),
    "qwen3": ("Qwen3ForCausalLM", {}),
    "qwen3, biases and sliding layers": (
        "Qwen3ForCausalLM",
        {"attention_bias": True, "use_sliding_window": True, "sliding_window": 5, "layer_types": ALTERNATING},
    ),
    "qwen3, yarn": ("Qwen3ForCausalLM", {"rope_parameters": YARN}),
    "gemma3": ("Gemma3ForCausalLM", {"layer_types": ALTERNATING}),
    "gemma3, all sliding, other settings": (
        "Gemma3ForCausalLM",
        {"query_pre_attn_scalar": 23, "final_logit_softcapping": 3.0, "attention_bias": True,
         "tie_word_embeddings": False},
    ),
    "gemma3, scaled full layers": (
        "Gemma3ForCausalLM",
        {"layer_types": ALTERNATING,
         "rope_parameters": {"full_attention": LINEAR,
                             "sliding_attention": {"rope_type": "default", "rope_theta": 77.0}}},
    ),
    "gemma3, bare": ("Gemma3TextModel", {"layer_types": ALTERNATING}),
    "gemma3, labels": ("Gemma3TextForSequenceClassification", {"num_labels": 3}),
    "glm4": ("Glm4ForCausalLM", {}),
    "glm4, no biases, a quarter turns": (
        "Glm4ForCausalLM",
        {"attention_bias": False,
         "rope_parameters": {"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.25}},
    ),
    "glm4, tags": ("Glm4ForTokenClassification", {"num_labels": 4}),
    "mixtral": ("MixtralForCausalLM", {}),
    "mixtral, sliding, one expert a token": (
        "MixtralForCausalLM",
        {"sliding_window": 5, "num_experts_per_tok": 1, "head_dim": 12},
    ),
    "qwen3_moe": ("Qwen3MoeForCausalLM", {}),
    "qwen3_moe, dense and sliding layers": (
        "Qwen3MoeForCausalLM",
        {"mlp_only_layers": [0], "norm_topk_prob": True, "use_sliding_window": True, "sliding_window": 5},
    ),
    "qwen3_moe, every second layer": ("Qwen3MoeForCausalLM", {"decoder_sparse_step": 2}),
}  # fmt: skip

PLAIN = ["gpt2", "llama", "mistral", "qwen2", "qwen3", "gemma3", "glm4", "mixtral", "qwen3_moe"]


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    save_trained(
        train_bpe(
            ["翰林院的学士们读史书。 The scholars read histories."] * 4, TokenizerConfig(vocab_size=280)
        ),
        folder,
    )
    return Tokenizer.load(folder)


def build(name, **more):
    kind, settings = MODELS[name]
    stem = kind.split("For")[0].removesuffix("Model").removesuffix("LMHead").removesuffix("Text")
    config = getattr(transformers, "Gemma3TextConfig" if stem == "Gemma3" else f"{stem}Config")
    torch.manual_seed(0)
    return scatter(getattr(transformers, kind)(config(**{**STEMS.get(stem, SHAPE), **settings, **more})))


@pytest.fixture
def theirs(tokenizer, tmp_path):
    """Saves a model of `transformers` with our tokenizer's files."""

    def theirs(name, **more):
        model = build(name, **more)
        model.save_pretrained(tmp_path / "theirs")
        tokenizer.save(tmp_path / "theirs")
        return model, tmp_path / "theirs"

    return theirs


def answer(model, *inputs, **more):
    """What a model of theirs says, in our shape."""
    out = model(*inputs, **more)
    if not hasattr(out, "logits"):
        return out.last_hidden_state
    one_number = "SequenceClassification" in type(model).__name__ and model.config.num_labels == 1
    return out.logits.squeeze(-1) if one_number else out.logits


def refusal(folder):
    with pytest.raises(CheckpointError) as caught:
        open_model(folder, CPU)
    assert caught.value.problem.zh != caught.value.problem.en
    return caught.value.problem.en


# Theirs opens in ours.


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_theirs_in_ours_layer_by_layer(theirs, name):
    model, folder = theirs(name)
    decoder, _, _ = open_model(folder, CPU)
    streams = []
    for block in decoder.blocks:
        block.register_forward_hook(lambda _module, _inputs, output: streams.append(output))
    said = decoder(IDS_BT)
    hidden = model(IDS_BT, output_hidden_states=True).hidden_states
    # Theirs lists the embedding, the stream after each block but the last, and the last one normalised.
    for stream, theirs in zip(
        [decoder.embed(IDS_BT), *streams[:2], decoder.norm(streams[2])], hidden, strict=True
    ):
        close(stream, theirs)
    close(said, answer(model, IDS_BT))
    assert said.std() > 0.1


@pytest.mark.parametrize("name", [*PLAIN, "llama, labels", "llama, one number", "gpt2, labels", "glm4, tags"])
@torch.no_grad()
def test_padding_on_the_left(theirs, name):
    model, folder = theirs(name)
    decoder, _, _ = open_model(folder, CPU)
    ids_BT, positions_BT = IDS_BT.where(LEFT_BT, PAD), (LEFT_BT.cumsum(1) - 1).clamp(min=0)
    said = decoder(ids_BT, positions_BT, LEFT_BT.long() - 1)
    expected = answer(model, ids_BT, attention_mask=LEFT_BT.long(), position_ids=positions_BT)
    if said.dim() == 3:
        said, expected = said[LEFT_BT], expected[LEFT_BT]
    close(said, expected)


@torch.no_grad()
def test_padding_on_the_right_is_not_what_stands_for_a_text(theirs):
    model, folder = theirs("llama, labels")
    decoder, _, _ = open_model(folder, CPU)
    right_BT = LEFT_BT.flip(1)
    ids_BT = IDS_BT.where(right_BT, PAD)
    said = decoder(ids_BT, documents_BT=right_BT.long() - 1)
    close(said, answer(model, ids_BT, attention_mask=right_BT.long()))
    close(said[1:], decoder(IDS_BT[1:, :15]))


@pytest.mark.parametrize("name", [*PLAIN, "qwen3, biases and sliding layers", "gemma3, scaled full layers"])
@torch.no_grad()
def test_through_the_cache_as_without(theirs, name):
    model, folder = theirs(name)
    decoder, _, _ = open_model(folder, CPU)
    cache = KeyValueCache(decoder.config, rows=2, capacity=24)
    parts = [decoder(part, cache=cache) for part in IDS_BT.split([10, 1, 1, 3, 8, 1], dim=1)]
    close(torch.cat(parts, dim=1), model(IDS_BT).logits)


# Ours opens in theirs.


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_ours_in_theirs_and_back(theirs, tokenizer, tmp_path, name):
    _, folder = theirs(name)
    decoder, _, defaults = open_model(folder, CPU)
    save_model(tmp_path / "ours", decoder, tokenizer, defaults, {}, {})
    written = json.loads((tmp_path / "ours" / "config.json").read_text())
    # A Mistral without its window is a Llama.
    expected = "LlamaForCausalLM" if name == "mistral, full" else MODELS[name][0]
    assert written["architectures"] == [expected]
    kind = getattr(transformers, written["architectures"][0])
    model, info = kind.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(info[which] for which in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    close(decoder(IDS_BT), answer(model.eval(), IDS_BT))

    again, _, _ = open_model(tmp_path / "ours", CPU)
    assert again.config == decoder.config
    save_model(tmp_path / "again", again, tokenizer, defaults, {}, {})
    for file in ("model.safetensors", "config.json"):
        assert (tmp_path / "ours" / file).read_bytes() == (tmp_path / "again" / file).read_bytes()
    first, second = (load_file(path / "model.safetensors") for path in (folder, tmp_path / "ours"))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("settings", "family"),
    [
        ({"tied": False, "attention": ("sliding",), "attention_window": 5}, "mistral"),
        ({"qkv_bias": True}, "qwen2"),
        ({"qkv_bias": True, "head_size": 6, "window": 99}, "qwen2"),
        ({"qk_norm": True, "attention": ("full", "full", "sliding"), "attention_window": 5}, "qwen3"),
        ({"experts": 4}, "mixtral"),
        ({"experts": 4, "qk_norm": True, "expert_width": 12, "dense_layers": (0,)}, "qwen3_moe"),
        ({"head": "classify", "labels": 2, "label_names": ("good", "bad")}, "llama"),
        ({"width": 33, "head_size": 8}, "mistral"),  # transformers opens no such Llama
        ({"experts": 4, "dense_layers": (0,)}, "hanlin"),
        ({"qk_norm": True, "norm_unit_offset": True}, "hanlin"),
        ({"rotary_share": 0.5}, "hanlin"),
        ({"output_bias": True}, "hanlin"),
        ({"attention": ("block",), "attention_window": 4, "global_tokens": 1}, "hanlin"),
    ],
)
@torch.no_grad()
def test_a_model_of_ours_is_written_as_the_family_that_can_express_it(tmp_path, tokenizer, settings, family):
    shape = {"vocab_size": 300, "width": 32, "layers": 3, "heads": 4, "ffn_width": 48, "window": 64}
    decoder = scatter(Decoder(CoreConfig.model_validate({**shape, **settings})))
    save_model(tmp_path / "ours", decoder, tokenizer, GenerationDefaults(), {}, {})
    found, config = read_config(tmp_path / "ours")
    assert (found.name, config) == (family, decoder.config)
    if family != "hanlin":
        kind = json.loads((tmp_path / "ours" / "config.json").read_text())["architectures"][0]
        close(
            decoder(IDS_BT),
            answer(getattr(transformers, kind).from_pretrained(tmp_path / "ours").eval(), IDS_BT),
        )


# Files that older versions wrote.

OLD = {
    "linear": ("llama", {"rope_parameters": None, "rope_theta": 500.0,
                         "rope_scaling": {"type": "linear", "factor": 2.5}}),
    "llama3": ("llama", {"rope_parameters": None, "rope_theta": 500.0,
                         "rope_scaling": {k: v for k, v in LLAMA3.items() if k != "rope_theta"}}),
    "yarn": ("qwen2", {"rope_parameters": None, "rope_theta": 500.0, "max_position_embeddings": 32,
                       "rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}}),
    "yarn without a factor": ("qwen2", {"rope_parameters": {
        "rope_type": "yarn", "rope_theta": 500.0, "factor": None, "original_max_position_embeddings": 16}}),
    "qwen2, no list of layers": ("qwen2", {"layer_types": None, "use_sliding_window": True, "sliding_window": 5,
                                           "max_window_layers": 2}),
    "qwen2, unused window": ("qwen2", {"use_sliding_window": False, "sliding_window": 5, "layer_types": None}),
    "gemma3": ("gemma3", {"rope_parameters": None, "layer_types": None, "rope_theta": 5000.0,
                          "rope_local_base_freq": 77.0, "sliding_window_pattern": 2,
                          "rope_scaling": {"rope_type": "linear", "factor": 8.0}}),
    "glm4": ("glm4", {"rope_parameters": None, "rope_theta": 500.0, "partial_rotary_factor": 0.25}),
    "qwen3_moe": ("qwen3_moe", {"without": ("num_local_experts",), "num_experts": 4}),
    "usual values": ("llama, as SmolLM2", {"without": ("head_dim", "rms_norm_eps")}),
}  # fmt: skip


@pytest.mark.parametrize("name", OLD)
@torch.no_grad()
def test_older_files_mean_what_they_meant(theirs, name):
    plain, changes = OLD[name]
    model, folder = theirs(plain)
    edit(folder, **changes)
    expected = type(model).from_pretrained(folder).eval()(IDS_BT).logits
    close(open_model(folder, CPU)[0](IDS_BT), expected)
    assert (
        name in ("qwen3_moe", "qwen2, unused window") or (expected - model(IDS_BT).logits).abs().max() > 1e-3
    )


@pytest.mark.parametrize("scaling", [LINEAR, LLAMA3, YARN], ids=lambda scaling: scaling["rope_type"])
def test_scaled_rotary_tables_are_theirs_over_a_long_window(scaling):
    scaling = {**scaling, "original_max_position_embeddings": 8192, "rope_theta": 500_000.0}
    shape = {**SHAPE, "head_dim": 64, "max_position_embeddings": 40_000, "rope_parameters": scaling}
    theirs = transformers.models.llama.modeling_llama.LlamaRotaryEmbedding(transformers.LlamaConfig(**shape))
    config = FAMILIES["llama"].read({**shape, "architectures": ["LlamaForCausalLM"]})
    ours = RotaryTable(config)(40_000)
    for table, expected in zip(ours, theirs(torch.empty(1), torch.arange(40_000).unsqueeze(0)), strict=True):
        close(table, expected[0])


def test_yarn_makes_the_window_as_long_as_it_stretches(theirs):
    _, folder = theirs("qwen2")
    edit(folder, rope_parameters={**YARN, "original_max_position_embeddings": 64})
    assert read_config(folder)[1].window == 256


# What cannot be opened says so.


@pytest.mark.parametrize("name", PLAIN)
def test_tensors_that_do_not_fit_are_named(theirs, name):
    _, folder = theirs(name)
    names = sorted(load_file(folder / "model.safetensors"))
    stored = next(name for name in reversed(names) if ".1." in name and name.endswith(".weight"))
    wrong = stored.replace(".weight", ".wieght")
    damage(folder, lambda t: {wrong if name == stored else name: value for name, value in t.items()})
    text = refusal(folder)
    assert f"unknown: {wrong} (nearest: {stored})" in text
    assert f"missing: {stored} (nearest: {wrong})" in text
    damage(folder, lambda t: {stored if name == wrong else name: value for name, value in t.items()})
    damage(folder, lambda t: {**t, stored: torch.zeros(7, 5)})
    assert f"{stored} has shape (7, 5); config.json asks for (" in refusal(folder)


ROPE = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}


@pytest.mark.parametrize(
    ("name", "setting", "allowed"),
    [
        ("llama", {"rope_parameters": ROPE}, "rope_type to 'dynamic'; only 'default', 'linear', 'llama3', 'yarn' can"),
        ("llama", {"rope_scaling": {"type": "longrope"}}, "rope_type to 'longrope'; only 'default'"),
        ("qwen3", {"hidden_act": "tanh"}, "hidden_act to 'tanh'; only 'gelu'"),
        ("llama", {"partial_rotary_factor": 0.5}, "partial_rotary_factor to 0.5; only 1.0"),
        ("llama", {"architectures": ["LlamaForQuestionAnswering"]}, "names the class LlamaForQuestionAnswering"),
        ("mistral", {"layer_types": ALTERNATING}, "layer_types to"),
        ("qwen2", {"layer_types": ["chunked_attention"] * 3}, "layer_types to 'chunked_attention'; only 'full_att"),
        ("gemma3", {"use_bidirectional_attention": True}, "use_bidirectional_attention to True; only False"),
        ("gemma3", {"attn_logit_softcapping": 50.0}, "attn_logit_softcapping to 50.0; only None"),
        ("gemma3", {"rope_parameters": {"sliding_attention": LINEAR}}, "rope_type to 'linear'; only 'default'"),
        ("mixtral", {"router_jitter_noise": 0.1}, "router_jitter_noise to 0.1; only 0.0"),
        ("gpt2", {"embd_pdrop": 0.5}, "embd_pdrop to 0.5; only 0.0"),
        ("llama, labels", {"problem_type": "regression"}, "problem_type to 'regression'"),
        ("qwen2", {"use_sliding_window": False, "layer_types": ALTERNATING}, "attention sliding needs attention_window"),
        ("llama", {"hidden_size": 33}, "hidden_size 33 is not divisible by num_attention_heads 4"),
        ("gemma3", {"layer_types": None, "sliding_window_pattern": 0}, "is damaged or incomplete"),
        ("llama", {"quantization_config": {"quant_method": "gptq"}}, "its weights are packed"),
        ("gemma3", {"model_type": "gemma3"}, "only its text models can be opened"),
    ],
)  # fmt: skip
def test_a_setting_that_we_do_not_have_is_refused(theirs, name, setting, allowed):
    _, folder = theirs(name)
    edit(folder, **setting)
    assert allowed in refusal(folder)


def test_an_unknown_kind_of_model_names_those_that_open(theirs):
    _, folder = theirs("llama")
    edit(folder, model_type="mamba")
    with pytest.raises(CheckpointError) as caught:
        open_model(folder, CPU)
    assert all(name in caught.value.remedy.en for name in FAMILIES)


def test_their_softcap_of_scores_is_still_without_effect():
    """Why a Gemma 3 with one is refused: what it was trained with cannot be told."""
    with torch.no_grad():
        plain, capped = (build("gemma3", attn_logit_softcapping=cap)(IDS_BT).logits for cap in (None, 0.1))
    assert torch.equal(plain, capped)


# A mixture's balance.


def test_the_balance_of_one_layer_is_theirs(theirs):
    model, folder = theirs("mixtral", num_hidden_layers=1, router_aux_loss_coef=0.25)
    decoder, _, _ = open_model(folder, CPU)
    targets_BT = torch.nn.functional.pad(IDS_BT[:, 1:], (0, 1), value=-100)
    term = Causal().loss(decoder.train(), Batch(IDS_BT, targets_BT))
    out = model(IDS_BT, labels=IDS_BT, output_router_logits=True)
    assert out.aux_loss > 2.05  # 2 were even
    torch.testing.assert_close(decoder.balance_loss(), out.aux_loss)
    torch.testing.assert_close(term / Causal().count(Batch(IDS_BT, targets_BT)), out.loss)
    (term / Causal().count(Batch(IDS_BT, targets_BT))).backward()
    out.loss.backward()
    close(decoder.blocks[0].ffn.router.weight.grad, model.model.layers[0].mlp.gate.weight.grad)
    plain = Causal().loss(decoder.eval(), Batch(IDS_BT, targets_BT))
    torch.testing.assert_close(
        plain / Causal().count(Batch(IDS_BT, targets_BT)), out.loss - 0.25 * out.aux_loss
    )


@torch.no_grad()
def test_the_balance_of_several_layers_is_the_mean_of_theirs(theirs):
    model, folder = theirs("mixtral")
    decoder, _, _ = open_model(folder, CPU)
    decoder.train()(IDS_BT)
    routers = model(IDS_BT, output_router_logits=True).router_logits
    each = torch.stack([load_balancing_loss_func((router,), 4, 2) for router in routers])
    torch.testing.assert_close(decoder.balance_loss(), each.mean())
    assert load_balancing_loss_func(routers, 4, 2) < each.mean() - 0.01  # theirs lets layers hide one another
