"""Model folders against `transformers`, both ways, on tiny random weights in float32."""

import contextlib
import json
import resource
import shutil
import signal

import pytest
import torch
from tests.tiny import CPU, close, damage, edit, scatter
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from hanlin.base.errors import CheckpointError, DiskError
from hanlin.checkpoint.defaults import GenerationDefaults, read_defaults, write_defaults
from hanlin.checkpoint.folder import load_model, save_model
from hanlin.checkpoint.recognize import read_config
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from hanlin.model.position import RotaryTable
from hanlin.tokenizer.bpe import save_trained, train_bpe
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.tokenizer import Tokenizer

TEXT = "The scholars read <|endoftext|> histories in 1723: 翰林院的学士们读史书。 😀\n"
IDS_BT = torch.randint(300, (2, 24), generator=torch.Generator().manual_seed(1))

LLAMA = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4,
         "num_key_value_heads": 4, "intermediate_size": 48, "max_position_embeddings": 64}  # fmt: skip
GPT2 = {"vocab_size": 300, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64}

SHAPES = {
    "llama": (LlamaForCausalLM, LlamaConfig(**LLAMA)),
    "llama, tied": (LlamaForCausalLM, LlamaConfig(**LLAMA, tie_word_embeddings=True)),
    "llama, grouped heads": (LlamaForCausalLM, LlamaConfig(**{**LLAMA, "num_key_value_heads": 2})),
    "llama, one key head": (LlamaForCausalLM, LlamaConfig(**{**LLAMA, "num_key_value_heads": 1})),
    "llama, wide heads": (LlamaForCausalLM, LlamaConfig(**LLAMA, head_dim=12)),
    "llama, long waves": (
        LlamaForCausalLM,
        LlamaConfig(**LLAMA, rope_parameters={"rope_type": "default", "rope_theta": 500.0}),
    ),
    "llama, other epsilon": (LlamaForCausalLM, LlamaConfig(**LLAMA, rms_norm_eps=1e-2)),
    "gpt2": (GPT2LMHeadModel, GPT2Config(**GPT2)),
    "gpt2, untied": (GPT2LMHeadModel, GPT2Config(**GPT2, tie_word_embeddings=False)),
    "gpt2, inner width": (GPT2LMHeadModel, GPT2Config(**GPT2, n_inner=40)),
    "gpt2, exact gelu": (GPT2LMHeadModel, GPT2Config(**GPT2, activation_function="gelu")),
    "gpt2, relu": (GPT2LMHeadModel, GPT2Config(**GPT2, activation_function="relu")),
    "gpt2, other epsilon": (GPT2LMHeadModel, GPT2Config(**GPT2, layer_norm_epsilon=1e-2)),
}


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    save_trained(train_bpe([TEXT] * 4, TokenizerConfig(vocab_size=290)), folder)
    return Tokenizer.load(folder)


@pytest.fixture
def theirs(tokenizer, tmp_path):
    """Saves a model of `transformers` with our tokenizer's files."""

    def theirs(name="llama", **options):
        kind, config = SHAPES[name]
        model = scatter(kind(config))
        model.save_pretrained(tmp_path / "theirs", **options)
        tokenizer.save(tmp_path / "theirs")
        return model, tmp_path / "theirs"

    return theirs


@pytest.fixture
def ours(tokenizer, tmp_path):
    """Saves a model of ours."""

    def ours(name="ours", defaults=GenerationDefaults(), **settings):  # noqa: B008 - frozen
        shape = {"vocab_size": 300, "width": 32, "layers": 3, "heads": 4, "ffn_width": 48, "window": 64}
        model = scatter(Decoder(CoreConfig.model_validate({**shape, **settings})))
        save_model(tmp_path / name, model, tokenizer, defaults, {}, {})
        return model, tmp_path / name

    return ours


@contextlib.contextmanager
def full_disk():
    """Within it, no file of this process may grow beyond 4 KiB."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def refusal(folder):
    with pytest.raises(CheckpointError) as caught:
        load_model(folder, CPU)
    assert caught.value.problem.zh != caught.value.problem.en
    return caught.value.problem.en


# Theirs opens in ours.


@pytest.mark.parametrize("name", SHAPES)
def test_theirs_in_ours_layer_by_layer(theirs, name):
    model, folder = theirs(name)
    decoder, _, _ = load_model(folder, CPU)
    streams = []
    for block in decoder.blocks:
        block.register_forward_hook(lambda _module, _inputs, output: streams.append(output))
    with torch.no_grad():
        expected = model(IDS_BT, output_hidden_states=True)
        logits, embedded, last = decoder(IDS_BT), decoder.embed(IDS_BT, None), decoder.norm(streams[-1])
    # Theirs lists the embedding, the stream after each block but the last, and the last one normalised.
    for stream, hidden in zip([embedded, *streams[:2], last], expected.hidden_states, strict=True):
        close(stream, hidden)
    close(logits, expected.logits)
    assert logits.std() > 0.5


def test_rotary_tables_equal_theirs_to_the_last_bit_over_a_long_window():
    theta = 500_000.0
    config = LlamaConfig(
        **{**LLAMA, "max_position_embeddings": 40_000},
        head_dim=64,
        rope_parameters={"rope_type": "default", "rope_theta": theta},
    )
    table = RotaryTable(CoreConfig.model_validate({"head_size": 64, "window": 40_000, "rope_theta": theta}))
    cosine, sine = LlamaRotaryEmbedding(config)(torch.empty(1), torch.arange(40_000).unsqueeze(0))
    assert torch.equal(table(40_000)[0], cosine[0])
    assert torch.equal(table(40_000)[1], sine[0])


def test_bfloat16_weights_open_as_float32(theirs):
    model, folder = theirs()
    model.to(torch.bfloat16).save_pretrained(folder)
    decoder, _, _ = load_model(folder, CPU)
    assert {parameter.dtype for parameter in decoder.parameters()} == {torch.float32}
    # Opened anew: in `model` the frequencies of the rotation are bfloat16 now, too.
    expected = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        close(decoder(IDS_BT), expected(IDS_BT).logits)


def test_shards_open(theirs):
    model, folder = theirs(max_shard_size="20KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 2
    with torch.no_grad():
        close(load_model(folder, CPU)[0](IDS_BT), model(IDS_BT).logits)


def test_gpt2_as_it_was_first_published_opens(theirs):
    """Without the prefix, with the causal masks that early versions stored beside the weights."""
    model, folder = theirs("gpt2")

    def old(tensors):
        masks = {f"h.{i}.attn.bias": torch.ones(64, 64).tril().view(1, 1, 64, 64) for i in range(3)}
        return {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()} | masks

    damage(folder, old)
    with torch.no_grad():
        close(load_model(folder, CPU)[0](IDS_BT), model(IDS_BT).logits)


def test_llama_as_it_was_first_published_opens(theirs):
    """With the frequencies of the rotation among the weights, and theta at the top level of config.json."""
    model, folder = theirs("llama, long waves")
    damage(folder, lambda t: {**t, "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)})
    edit(folder, rope_parameters=None, rope_theta=500.0)
    with torch.no_grad():
        close(load_model(folder, CPU)[0](IDS_BT), model(IDS_BT).logits)


def test_a_tied_head_may_be_repeated_but_not_differ(theirs):
    model, folder = theirs("llama, tied")
    damage(folder, lambda t: {**t, "lm_head.weight": t["model.embed_tokens.weight"].clone()})
    with torch.no_grad():
        close(load_model(folder, CPU)[0](IDS_BT), model(IDS_BT).logits)
    damage(folder, lambda t: {**t, "lm_head.weight": t["model.embed_tokens.weight"] + 1})
    assert "lm_head.weight shares the weights of model.embed_tokens.weight, but they differ" in refusal(
        folder
    )


# Ours opens in theirs.

STYLES = {
    "llama": ({"kv_heads": 2, "head_size": 10, "rope_theta": 777.0, "tied": False}, LlamaForCausalLM),
    "llama, tied": ({"norm_eps": 1e-3}, LlamaForCausalLM),
    "gpt2": ({"style": "gpt2"}, GPT2LMHeadModel),
    "gpt2, untied": ({"style": "gpt2", "tied": False, "activation": "silu"}, GPT2LMHeadModel),
}


@pytest.mark.parametrize("name", STYLES)
def test_ours_in_theirs(ours, tokenizer, name):
    settings, kind = STYLES[name]
    decoder, folder = ours(**settings)
    model, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert type(model) is kind
    assert not any(info[which] for which in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    with torch.no_grad():
        close(decoder(IDS_BT), model.eval()(IDS_BT).logits)
    their_tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer.encode(TEXT)
    assert their_tokenizer.encode(TEXT, add_special_tokens=False, split_special_tokens=True) == ids
    assert their_tokenizer.decode(ids) == TEXT
    assert (their_tokenizer.eos_token_id, their_tokenizer.pad_token_id) == (
        tokenizer.eos_id,
        tokenizer.pad_id,
    )


def test_theta_stands_where_older_and_newer_readers_look(ours):
    _, folder = ours(rope_theta=777.0)
    values = json.loads((folder / "config.json").read_text())
    assert values["rope_theta"] == values["rope_parameters"]["rope_theta"] == 777.0


@pytest.mark.parametrize("name", STYLES)
def test_theirs_after_ours_after_theirs_is_the_same_model(ours, tokenizer, tmp_path, name):
    decoder, folder = ours(**STYLES[name][0])
    AutoModelForCausalLM.from_pretrained(folder).save_pretrained(tmp_path / "again")
    tokenizer.save(tmp_path / "again")
    again, _, _ = load_model(tmp_path / "again", CPU)
    assert again.config == decoder.config
    for (name, parameter), other in zip(decoder.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(parameter, other), name


NATIVE = {"norm": "layer", "position": "learned", "heads": 4, "kv_heads": 2, "activation": "relu"}


@pytest.mark.parametrize("settings", [*(value[0] for value in STYLES.values()), NATIVE])
def test_saving_what_was_loaded_gives_the_same_bytes(ours, tmp_path, settings):
    decoder, folder = ours(defaults=GenerationDefaults(temperature=0.5, top_k=3), **settings)
    loaded, tokenizer, defaults = load_model(folder, CPU)
    assert torch.equal(loaded(IDS_BT), decoder(IDS_BT))
    assert defaults == GenerationDefaults(temperature=0.5, top_k=3)
    save_model(tmp_path / "again", loaded, tokenizer, defaults, {}, {})
    files = sorted(path.name for path in folder.iterdir())
    assert files == sorted(path.name for path in (tmp_path / "again").iterdir())
    for name in files:
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


@pytest.mark.parametrize(
    ("settings", "family"),
    [
        ({}, "llama"),
        ({"style": "gpt2"}, "gpt2"),
        ({"style": "gpt2", "dropout": 0.1}, "gpt2"),
        ({"dropout": 0.1}, "hanlin"),
        ({"activation": "gelu"}, "llama"),
        ({"style": "gpt2", "kv_heads": 2}, "hanlin"),
        ({"style": "gpt2", "head_size": 6}, "hanlin"),
        ({"style": "gpt2", "position": "rotary"}, "hanlin"),
    ],
)
def test_a_model_is_written_as_the_family_that_can_express_it(ours, settings, family):
    decoder, folder = ours(**settings)
    found, config = read_config(folder)
    assert found.name == family
    assert config == decoder.config


# What cannot be opened says so.


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        (
            lambda t: {n.replace("1.mlp.gate_proj", "1.mlp.gate_projx"): v for n, v in t.items()},
            ["unknown: model.layers.1.mlp.gate_projx.weight (nearest: model.layers.1.mlp.gate_proj.weight)",
             "missing: model.layers.1.mlp.gate_proj.weight (nearest: model.layers.1.mlp.gate_projx.weight)"],
        ),
        (lambda t: {**t, "model.layers.0.self_attn.q_proj.bias": torch.zeros(32)},
         ["unknown: model.layers.0.self_attn.q_proj.bias (nearest: model.layers.0.self_attn.q_proj.weight)"]),
        (lambda t: {n: v for n, v in t.items() if "layers.2." not in n}, ["missing: and 1 more"]),
        (lambda t: {**t, "model.norm.weight": torch.ones(31)},
         ["model.norm.weight has shape (31,); config.json asks for (32,)"]),
    ],
    ids=["renamed", "unknown", "missing", "misshapen"],
)  # fmt: skip
def test_tensors_that_do_not_fit_are_named(theirs, change, lines):
    _, folder = theirs()
    damage(folder, change)
    text = refusal(folder)
    assert all(line in text for line in lines), text


def test_transposed_weights_of_another_shape_are_named_as_stored(theirs):
    _, folder = theirs("gpt2")
    damage(folder, lambda t: {**t, "transformer.h.0.attn.c_attn.weight": torch.zeros(96, 32)})
    assert "c_attn.weight has shape (96, 32); config.json asks for (32, 96)" in refusal(folder)


def test_a_vocabulary_of_another_size_is_refused(theirs):
    _, folder = theirs()
    edit(folder, vocab_size=310)
    assert "model.embed_tokens.weight has shape (300, 32); config.json asks for (310, 32)" in refusal(folder)
    edit(folder, vocab_size=280)
    assert "the tokenizer has 290 tokens, the model only 280" in refusal(folder)


@pytest.mark.parametrize("bytes_left", [-1, 1000, 4, 0])
def test_truncated_weights_are_named(theirs, bytes_left):
    _, folder = theirs()
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:bytes_left])
    assert "model.safetensors cannot be opened" in refusal(folder)


def test_a_missing_shard_and_a_damaged_index_are_named(theirs):
    _, folder = theirs(max_shard_size="20KB")
    next(folder.glob("model-00002-*")).unlink()
    assert "model-00002-of" in refusal(folder)
    (folder / "model.safetensors.index.json").write_text('{"weight_map": ')
    assert "index.json is damaged" in refusal(folder)


def test_pickled_weights_are_not_opened(theirs):
    _, folder = theirs()
    (folder / "model.safetensors").unlink()
    assert "holds no weights" in refusal(folder)
    torch.save({}, folder / "pytorch_model.bin")
    assert "pickled weights (pytorch_model.bin), which can run code" in refusal(folder)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "tokenizer.json", "config.json", "chat_template.jinja"]
)
def test_a_changed_byte_is_found_by_checksum(ours, name):
    _, folder = ours()
    path = folder / name
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        load_model(folder, CPU)


def test_a_newer_format_is_refused(ours):
    _, folder = ours()
    manifest = json.loads((folder / "hanlin.json").read_text())
    (folder / "hanlin.json").write_text(json.dumps({**manifest, "format": 99}))
    assert "has format 99" in refusal(folder)


def test_a_folder_without_tokenizer_is_refused(theirs):
    _, folder = theirs()
    (folder / "tokenizer.json").unlink()
    assert "has no tokenizer.json" in refusal(folder)


def test_an_unknown_kind_of_model_names_those_that_open(theirs):
    _, folder = theirs()
    edit(folder, model_type="mamba")
    with pytest.raises(CheckpointError, match="model_type 'mamba' cannot be opened") as caught:
        load_model(folder, CPU)
    assert "gpt2, hanlin, llama" in caught.value.remedy.en


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("llama", {"hidden_act": "tanh"}),
        ("gpt2", {"activation_function": "tanh"}),
        ("gpt2", {"scale_attn_weights": False}),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}),
        ("gpt2", {"add_cross_attention": True}),
    ],
)
def test_a_setting_that_we_do_not_have_is_refused(theirs, name, setting):
    _, folder = theirs(name)
    edit(folder, **setting)
    assert f"config.json sets {next(iter(setting))} to" in refusal(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", '"llama"', "null", "\udcff"])
def test_a_config_that_is_no_json_object_is_named(theirs, text):
    _, folder = theirs()
    (folder / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert "config.json is damaged or incomplete" in refusal(folder)


@pytest.mark.parametrize(
    "wrong",
    [{"hidden_size": "wide"}, {"hidden_size": None}, {"num_attention_heads": 0}, {"rms_norm_eps": -1}],
)
def test_a_config_with_impossible_values_is_named(theirs, wrong):
    _, folder = theirs()
    edit(folder, head_dim=None, **wrong)
    assert "config.json is damaged or incomplete" in refusal(folder)


def test_a_config_without_a_size_is_named(theirs):
    _, folder = theirs()
    values = json.loads((folder / "config.json").read_text())
    del values["hidden_size"]
    (folder / "config.json").write_text(json.dumps(values))
    assert "'hidden_size' is missing" in refusal(folder)


def test_damaged_generation_defaults_are_named(theirs):
    _, folder = theirs()
    (folder / "generation_config.json").write_text('{"do_sample": false, "temperature": 0.6, "top_p": 0.9}')
    assert read_defaults(folder) == GenerationDefaults(temperature=0.0, top_p=0.9)
    write_defaults(folder, read_defaults(folder), frozenset({0}), 1)
    assert read_defaults(folder) == GenerationDefaults(temperature=0.0, top_p=0.9)
    (folder / "generation_config.json").write_text('{"temperature": "hot"}')
    assert "generation_config.json is damaged" in refusal(folder)


def test_a_folder_that_is_absent_or_holds_no_model_is_named(tmp_path):
    assert "it has no config.json" in refusal(tmp_path)
    assert "There is no model" in refusal(tmp_path / "absent")


def test_the_folder_of_a_run_opens_its_model(ours, tmp_path):
    decoder, folder = ours()
    shutil.copytree(folder, tmp_path / "run" / "pretrain" / "model")
    for path in (tmp_path / "run", tmp_path / "run" / "pretrain"):
        assert torch.equal(load_model(path, CPU)[0](IDS_BT), decoder(IDS_BT))


def test_a_full_disk_keeps_the_old_model(ours):
    decoder, folder = ours()
    before = (folder / "model.safetensors").read_bytes()
    with full_disk(), pytest.raises(DiskError, match="File too large"):
        ours(tied=False)
    assert (folder / "model.safetensors").read_bytes() == before
    assert torch.equal(load_model(folder, CPU)[0](IDS_BT), decoder(IDS_BT))
