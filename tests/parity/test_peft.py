"""Adapter folders against `peft`, both ways, on tiny random weights in float32."""

import json
import shutil
import warnings

import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from hanlin.base.errors import CheckpointError, ConfigError
from hanlin.checkpoint.adapters.read import load_adapter
from hanlin.checkpoint.adapters.write import base_fingerprint, save_adapter
from hanlin.checkpoint.recognize import read_config
from hanlin.checkpoint.weights import read_weights
from hanlin.model.adapters.adapters import Adapters
from hanlin.model.adapters.config import LoraConfig, PrefixConfig, PromptConfig
from hanlin.model.assemble import build_empty

IDS_BT = torch.randint(3, 60, (2, 9), generator=torch.Generator().manual_seed(1))
FILES = ("adapter_config.json", "adapter_model.safetensors", "hanlin.json")

SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
BODY = {"vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4,
        "intermediate_size": 48, "max_position_embeddings": 64}  # fmt: skip
GROUPED = {**BODY, **SPECIAL, "num_key_value_heads": 2, "head_dim": 8}
BASES = {
    "llama": ("LlamaForCausalLM", GROUPED),
    "gpt2": ("GPT2LMHeadModel", {"vocab_size": 60, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, **SPECIAL}),
    "glm4": ("Glm4ForCausalLM", GROUPED),
    "mistral": ("MistralForCausalLM", {**GROUPED, "sliding_window": 4}),
    "gemma3": ("Gemma3ForCausalLM", {**GROUPED, "sliding_window": 4, "query_pre_attn_scalar": 8}),
    "mixtral": ("MixtralForCausalLM", {**GROUPED, "num_local_experts": 4}),
    "labels": ("BertForSequenceClassification", {**BODY, "num_labels": 3}),
    "tags": ("BertForTokenClassification", {**BODY, "num_labels": 3}),
    "bare": ("BertModel", BODY),
    "t5": ("T5ForConditionalGeneration", {"vocab_size": 60, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0}),
    "bart": ("BartForConditionalGeneration", {"vocab_size": 60, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "max_position_embeddings": 64, "scale_embedding": True, "forced_eos_token_id": 2, **SPECIAL}),
}  # fmt: skip

CAUSAL, SEQ2SEQ = {"task_type": "CAUSAL_LM"}, {"task_type": "SEQ_2_SEQ_LM"}
LORA, PROMPT, PREFIX = peft.LoraConfig, peft.PromptTuningConfig, peft.PrefixTuningConfig
PATTERNS = {"r": 4, "rank_pattern": {"q_proj": 2}, "alpha_pattern": {"layers.1.mlp.up_proj": 3}}
THEIRS = {
    "lora": ("llama", LORA, {**CAUSAL, "target_modules": ["q_proj", "up_proj"], **PATTERNS}),
    "rslora, all-linear": ("llama", LORA, {**CAUSAL, "target_modules": "all-linear", "use_rslora": True}),
    "dora, regex": ("llama", LORA, {**CAUSAL, "target_modules": r".*\.(q|v)_proj", "use_dora": True}),
    "one layer": ("llama", LORA, {**CAUSAL, "target_modules": ["q_proj"], "layers_to_transform": [1]}),
    "excluded": ("llama", LORA, {**CAUSAL, "target_modules": ["q_proj"], "exclude_modules": ["layers.0.self_attn.q_proj"]}),
    "whole head": ("llama", LORA, {**CAUSAL, "target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}),
    "fused, transposed": ("gpt2", LORA, {**CAUSAL, "target_modules": ["c_attn", "c_proj"]}),
    "fused, transposed, dora": ("gpt2", LORA, {**CAUSAL, "target_modules": ["c_attn"], "use_dora": True}),
    "fused gate": ("glm4", LORA, {**CAUSAL, "target_modules": ["gate_up_proj", "o_proj"]}),
    "labels": ("labels", LORA, {"task_type": "SEQ_CLS", "target_modules": ["query", "value"]}),
    "tags": ("tags", LORA, {"task_type": "TOKEN_CLS", "target_modules": ["query", "dense"]}),
    "bare": ("bare", LORA, {"task_type": "FEATURE_EXTRACTION", "target_modules": ["query"]}),
    "t5": ("t5", LORA, {**SEQ2SEQ, "target_modules": "all-linear"}),
    "bart": ("bart", LORA, {**SEQ2SEQ, "target_modules": ["q_proj", "fc1"]}),
    "prompt": ("llama", PROMPT, {**CAUSAL, "num_virtual_tokens": 5}),
    "prompt, learned positions": ("gpt2", PROMPT, {**CAUSAL, "num_virtual_tokens": 5}),
    "prompt, scaled embedding": ("gemma3", PROMPT, {**CAUSAL, "num_virtual_tokens": 5}),
    "prompt, labels": ("labels", PROMPT, {"task_type": "SEQ_CLS", "num_virtual_tokens": 3}),
    "prompt, t5": ("t5", PROMPT, {**SEQ2SEQ, "num_virtual_tokens": 5}),
    "prompt, bart": ("bart", PROMPT, {**SEQ2SEQ, "num_virtual_tokens": 5}),
    "prefix": ("llama", PREFIX, {**CAUSAL, "num_virtual_tokens": 5}),
    "prefix, learned positions": ("gpt2", PREFIX, {**CAUSAL, "num_virtual_tokens": 5}),
    "prefix, sliding window": ("mistral", PREFIX, {**CAUSAL, "num_virtual_tokens": 5}),
}  # fmt: skip
OURS = {
    "part of a fused layer": ("gpt2", LoraConfig(layers=("attention.query", "attention.value"), rank=3)),
    "fused, dora": ("gpt2", LoraConfig(layers=("attention.query", "ffn.up"), dora=True, alphas={"attention.query": 5})),
    "fused, other ranks": ("gpt2", LoraConfig(rank=3, rslora=True, ranks={"attention.key": 2})),
    "fused gate": ("glm4", LoraConfig(layers=("ffn.gate", "ffn.up", "attention.query"), rank=3, dora=True)),
    "some blocks": ("llama", LoraConfig(blocks=(1,), rank=2)),
    "only a head": ("llama", LoraConfig(layers=("blocks.0.ffn.down",), whole=("head",))),
    "experts": ("mixtral", LoraConfig(layers=("attention.key", "experts.gate", "experts.up", "experts.down"))),
    "prompt": ("llama", PromptConfig(length=4)),
    "prefix": ("llama", PrefixConfig(length=4)),
    "labels, fresh head": ("labels", LoraConfig(whole=("head",))),
}  # fmt: skip


def scatter(model):
    """Every parameter that trains, moved far from where it began."""
    torch.manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """Their model, anew each time, and its folder."""
    folders = {}

    def base(kind):
        name, settings = BASES[kind]
        made = getattr(transformers, name)
        if kind not in folders:
            torch.manual_seed(1)
            folders[kind] = tmp_path_factory.mktemp(kind)
            scatter(made(made.config_class(**settings))).save_pretrained(folders[kind])
        return made.from_pretrained(folders[kind]).eval(), folders[kind]

    return base


def ours(folder):
    """Our model of a folder, and its family."""
    family, config = read_config(folder)
    model = build_empty(config, torch.device("cpu"))
    read_weights(folder, model, family)
    return Adapters(model.eval()), family


def our_logits(adapters, name):
    virtual = torch.tensor([adapters.prompt_ids(name)] * 2, dtype=torch.long).view(2, -1)
    target = (IDS_BT[:, :5],) if adapters.model.config.assembly == "seq2seq" else ()
    with torch.no_grad(), adapters.rows([name, name]):
        return adapters.model(torch.cat((virtual, IDS_BT), dim=1), *target)


def their_logits(model):
    seq2seq = model.config.is_encoder_decoder
    with torch.no_grad():
        out = model(input_ids=IDS_BT, **({"decoder_input_ids": IDS_BT[:, :5]} if seq2seq else {}))
    return out.logits if hasattr(out, "logits") else out.last_hidden_state


def opened_by_peft(base, kind, folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", message=".*missing adapter keys")  # of which PEFT only warns
        return peft.PeftModel.from_pretrained(base(kind)[0], folder).eval()


@pytest.fixture
def made_by_peft(base, tmp_path):
    """A folder of theirs, and the logits that it stands for."""

    def make(kind, made, settings):
        model = scatter(peft.get_peft_model(base(kind)[0], made(**settings)))
        model.save_pretrained(tmp_path / "theirs")
        return tmp_path / "theirs", their_logits(model)

    return make


@pytest.mark.parametrize("case", THEIRS)
def test_their_folder_opens_here_and_what_we_write_opens_there(case, base, made_by_peft, tmp_path):
    kind, made, settings = THEIRS[case]
    folder, expected = made_by_peft(kind, made, settings)
    adapters, family = ours(base(kind)[1])
    untouched = our_logits(adapters, None)
    load_adapter(folder, adapters, "a", family)
    torch.testing.assert_close(our_logits(adapters, "a"), expected, atol=1e-5, rtol=0)
    assert (untouched[:, -1] - expected[:, -1]).abs().max() > 0.01
    save_adapter(tmp_path / "ours", adapters, "a", family, base=str(base(kind)[1]))
    theirs = opened_by_peft(base, kind, tmp_path / "ours")
    torch.testing.assert_close(their_logits(theirs), expected, atol=1e-5, rtol=0)
    again(tmp_path, base(kind)[1])


@pytest.mark.parametrize("case", OURS)
def test_our_folder_opens_there(case, base, tmp_path):
    kind, config = OURS[case]
    adapters, family = ours(base(kind)[1])
    adapters.add("a", config)
    scatter(adapters.model)
    save_adapter(tmp_path / "ours", adapters, "a", family, base=str(base(kind)[1]))
    theirs = opened_by_peft(base, kind, tmp_path / "ours")
    expected = our_logits(adapters, "a")
    torch.testing.assert_close(their_logits(theirs), expected, atol=1e-5, rtol=0)
    assert (our_logits(adapters, None)[:, -1] - expected[:, -1]).abs().max() > 0.01
    again(tmp_path, base(kind)[1])


def again(tmp_path, base_folder):
    """Reading and writing once more gives the same bytes."""
    adapters, family = ours(base_folder)
    state = torch.get_rng_state()
    load_adapter(tmp_path / "ours", adapters, "b", family)
    assert torch.equal(torch.get_rng_state(), state)
    save_adapter(tmp_path / "again", adapters, "b", family, base=str(base_folder))
    for name in FILES[:2]:
        assert (tmp_path / "ours" / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


@pytest.fixture
def lora(base, tmp_path):
    """A folder of ours for the llama base."""
    adapters, family = ours(base("llama")[1])
    adapters.add("a", LoraConfig(layers=("attention.query", "ffn.up"), rank=4))
    scatter(adapters.model)
    save_adapter(tmp_path / "lora", adapters, "a", family, base="the-llama-of-this-test")
    return tmp_path / "lora"


def refusal(folder, base_folder, name="x"):
    """The message with which a folder is refused, in both languages; nothing is left of the attempt."""
    adapters, family = ours(base_folder)
    with pytest.raises(CheckpointError) as error:
        load_adapter(folder, adapters, name, family)
    assert adapters.configs == {}
    assert any("\u4e00" <= letter <= "\u9fff" for letter in error.value.problem.zh)
    return error.value.problem.en + "\n" + error.value.remedy.en


def test_lora_for_a_base_of_another_width(lora, tmp_path):
    (lora / "hanlin.json").unlink()
    model = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(**{**GROUPED, "hidden_size": 24, "head_dim": 8})
    )
    model.save_pretrained(tmp_path / "narrow")
    message = refusal(lora, tmp_path / "narrow")
    assert (
        "model.layers.0.self_attn.q_proj.lora_A.weight has shape (4, 32); this base needs (4, 24)" in message
    )
    assert "It was trained on the-llama-of-this-test" in message


def test_lora_for_a_base_of_other_weights(lora, tmp_path):
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**GROUPED))
    model.save_pretrained(tmp_path / "other")
    message = refusal(lora, tmp_path / "other")
    assert "trained on another base: the-llama-of-this-test (fingerprint " in message
    assert "Open it with the-llama-of-this-test; this base's fingerprint is " in message


def test_a_base_has_one_fingerprint(base):
    adapters, _ = ours(base("llama")[1])
    before = base_fingerprint(adapters.model)
    adapters.add("a", LoraConfig(dora=True, whole=("head",)))
    adapters.add("p", PromptConfig(length=2))
    adapters.add("x", PrefixConfig(length=2))
    assert base_fingerprint(adapters.model) == before
    assert base_fingerprint(adapters.model.bfloat16()) == before
    assert base_fingerprint(ours(base("gemma3")[1])[0].model) != before


def test_an_adapter_for_another_task(lora, base):
    message = refusal(lora, base("labels")[1])
    assert "an adapter for CAUSAL_LM; this base is for SEQ_CLS" in message


def change_config(folder, **values):
    (folder / "hanlin.json").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"peft_type": "IA3"}, "sets peft_type to 'IA3'"),
        ({"bias": "all"}, "sets bias to 'all'"),
        ({"init_lora_weights": "pissa"}, "sets init_lora_weights"),
        ({"target_parameters": ["mlp.experts.gate_up_proj"]}, "sets target_parameters to"),
        ({"trainable_token_indices": [1]}, "sets trainable_token_indices to"),
        ({"layer_replication": [[0, 2]]}, "sets layer_replication to"),
        ({"some_new_method": True}, "sets some_new_method to True"),
        ({"r": 0}, "sets r to 0"),
        ({"lora_alpha": float("nan")}, "sets lora_alpha to nan"),
        ({"rank_pattern": {"q_proj": 0}}, "sets rank_pattern.q_proj to 0"),
        ({"target_modules": "("}, "is damaged"),
        ({"modules_to_save": ["("]}, "is damaged"),
        ({"r": 8}, "q_proj.lora_A.weight has shape (4, 32); this base needs (8, 32)"),
        ({"target_modules": ["q_proj"]}, "unknown: model.layers.0.mlp.up_proj.lora_A.weight"),
        ({"target_modules": ["q_proj", "up_proj", "k_proj"]}, "missing: model.layers.0.self_attn.k_proj.lora_A"),
        ({"use_dora": True}, "missing: model.layers.0.mlp.up_proj.lora_magnitude_vector"),
        ({"peft_type": "PROMPT_TUNING"}, "sets num_virtual_tokens to null"),
        ({"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 3}, "missing: prompt_embeddings"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)  # fmt: skip
def test_settings_that_ours_do_not_have_or_that_contradict_the_tensors(values, match, lora, base):
    change_config(lora, **values)
    assert match in refusal(lora, base("llama")[1])


def test_damaged_folders(lora, base, tmp_path):
    folder = base("llama")[1]
    assert "is not an adapter folder" in refusal(tmp_path / "nowhere", folder)
    weights, config = lora / FILES[1], lora / FILES[0]
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-8])
    assert "its checksum differs" in refusal(lora, folder)
    (lora / "hanlin.json").unlink()
    assert "cannot be opened" in refusal(lora, folder)
    weights.write_bytes(whole)
    tensors = load_file(weights)
    first = next(iter(tensors))
    save_file({**tensors, first: tensors[first] * float("nan")}, weights)
    assert "not finite" in refusal(lora, folder)
    save_file(
        {**tensors, "base_model.model.model.embed_tokens.lora_embedding_A": tensors[first].clone()}, weights
    )
    assert "unknown: model.embed_tokens.lora_embedding_A" in refusal(lora, folder)
    for text in ("{", "[]", "3", '"x"'):
        config.write_text(text)
        refusal(lora, folder)
    shutil.copy(weights, lora / "adapter_model.bin")
    weights.unlink()
    config.write_text(json.dumps({"peft_type": "LORA", "target_modules": ["q_proj"]}))
    assert "pickled" in refusal(lora, folder)


def test_a_name_that_is_taken(lora, base):
    adapters, family = ours(base("llama")[1])
    load_adapter(lora, adapters, "a", family)
    with pytest.raises(ConfigError, match="adapter a already"):
        load_adapter(lora, adapters, "a", family)


def test_a_prefix_of_an_encoder_decoder_has_no_folder(base, tmp_path):
    adapters, family = ours(base("t5")[1])
    adapters.add("a", PrefixConfig(length=2))
    with pytest.raises(CheckpointError, match="encoder-decoder"):
        save_adapter(tmp_path / "x", adapters, "a", family)
    assert not (tmp_path / "x").exists()
