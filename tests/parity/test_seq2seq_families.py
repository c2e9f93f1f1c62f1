"""Encoder-decoders against `transformers`, both ways, on tiny random weights in float32."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForSeq2SeqLM,
    BartConfig,
    BartForConditionalGeneration,
    BartModel,
    MarianConfig,
    MarianMTModel,
    T5Config,
    T5ForConditionalGeneration,
)

from hanlin.base.device import Compute
from hanlin.base.errors import CheckpointError
from hanlin.checkpoint.defaults import GenerationDefaults
from hanlin.checkpoint.folder import load_model, open_model, save_model
from hanlin.checkpoint.recognize import read_config
from hanlin.model.cache import KeyValueCache
from hanlin.model.config import CoreConfig
from hanlin.model.seq2seq import Seq2Seq
from hanlin.tokenizer.bpe import save_trained, train_bpe
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.tokenizer import Tokenizer

CPU = Compute(torch.device("cpu"), torch.float32)
V, WINDOW = 290, 48
SEED = torch.Generator().manual_seed(1)
SOURCE_BS = torch.randint(V, (3, 11), generator=SEED)
TARGET_BT = torch.randint(V, (3, 9), generator=SEED)
SOURCE_REAL = torch.tensor([[1] * 11, [1] * 6 + [0] * 5, [1] * 9 + [0] * 2])
TARGET_REAL = torch.tensor([[1] * 5 + [0] * 4, [1] * 9, [1] * 8 + [0]])

IDS = {"pad_token_id": 1, "eos_token_id": 0, "decoder_start_token_id": 7, "bos_token_id": None}
T5_SHAPE = {"vocab_size": V, "d_model": 24, "d_kv": 5, "d_ff": 40, "num_layers": 2, "num_heads": 4,
            "num_decoder_layers": 3, "relative_attention_num_buckets": 8, "relative_attention_max_distance": 10,
            **IDS}  # fmt: skip
BART_SHAPE = {"vocab_size": V, "d_model": 24, "encoder_layers": 2, "decoder_layers": 3, "encoder_ffn_dim": 40,
              "decoder_ffn_dim": 40, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
              "max_position_embeddings": WINDOW, "forced_eos_token_id": None, **IDS}  # fmt: skip
V11 = {"feed_forward_proj": "gated-gelu"}

SHAPES = {
    "t5": (T5ForConditionalGeneration, T5Config(**T5_SHAPE)),
    "t5, untied": (T5ForConditionalGeneration, T5Config(**T5_SHAPE, tie_word_embeddings=False)),
    "t5 v1.1": (T5ForConditionalGeneration, T5Config(**T5_SHAPE, **V11, tie_word_embeddings=False)),
    "t5 v1.1, tied": (T5ForConditionalGeneration, T5Config(**T5_SHAPE, **V11)),
    "t5, gated relu": (T5ForConditionalGeneration, T5Config(**T5_SHAPE, feed_forward_proj="gated-relu")),
    "t5, other epsilon": (T5ForConditionalGeneration, T5Config(**T5_SHAPE, layer_norm_epsilon=1e-2)),
    "marian": (MarianMTModel, MarianConfig(**BART_SHAPE, scale_embedding=True, activation_function="swish")),
    "marian, unscaled relu": (MarianMTModel, MarianConfig(**BART_SHAPE, activation_function="relu")),
    "bart": (BartForConditionalGeneration, BartConfig(**BART_SHAPE)),
    "bart, scaled tanh": (
        BartForConditionalGeneration,
        BartConfig(**BART_SHAPE, scale_embedding=True, activation_function="gelu_new"),
    ),
}
HEADS_OF_THEIR_OWN = ("t5, untied", "t5 v1.1")


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    save_trained(train_bpe(["a few words, 几个字\n"] * 4, TokenizerConfig(vocab_size=270)), folder)
    return Tokenizer.load(folder)


def scatter(model):
    """Weights and biases far from zero and norms far from one, so that a mistake in any of them shows."""
    torch.manual_seed(0)
    with torch.no_grad():
        biases = [tensor for name, tensor in model.named_buffers() if name == "final_logits_bias"]
        for tensor in (*(weight for weight in model.parameters() if weight.requires_grad), *biases):
            tensor.add_(torch.randn_like(tensor) * 0.15)
    return model.eval()


@pytest.fixture
def theirs(tokenizer, tmp_path):
    """Saves a model of `transformers` with our tokenizer's files."""

    def theirs(name):
        kind, config = SHAPES[name]
        model = kind(config)
        if name in HEADS_OF_THEIR_OWN:  # what a checkpoint with its own head does to their model
            model.lm_head.weight = torch.nn.Parameter(torch.randn(V, config.d_model) * 0.1)
        model = scatter(model)
        model.save_pretrained(tmp_path / "theirs")
        tokenizer.save(tmp_path / "theirs")
        return model, tmp_path / "theirs"

    return theirs


@pytest.fixture
def ours(tokenizer, tmp_path):
    """Saves a model of ours."""

    def ours(**settings):
        shape = {"assembly": "seq2seq", "vocab_size": V, "width": 24, "layers": 2, "decoder_layers": 3, "heads": 4,
                 "ffn_width": 40, "window": WINDOW}  # fmt: skip
        model = scatter(Seq2Seq(CoreConfig.model_validate({**shape, **settings})))
        save_model(tmp_path / "ours", model, tokenizer, GenerationDefaults(), {}, {})
        return model, tmp_path / "ours"

    return ours


def close(a, b):
    torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


def edit(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def damage(folder, change):
    tensors = change(load_file(folder / "model.safetensors"))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def refusal(folder):
    with pytest.raises(CheckpointError) as caught:
        open_model(folder, CPU)
    assert caught.value.problem.zh != caught.value.problem.en
    return caught.value.problem.en


def documents(real):
    """Padding as the core takes it: a document of number -1."""
    return real - 1


def streams(stack):
    """What a forward pass adds to the list: the embedding, and the stream after each block."""
    found = []
    for module in (stack.embed, *stack.blocks):
        module.register_forward_hook(lambda _module, _inputs, output: found.append(output))
    return found


# Theirs opens in ours.


@pytest.mark.parametrize("name", SHAPES)
@torch.no_grad()
def test_both_stacks_are_theirs_layer_by_layer(theirs, name):
    model, folder = theirs(name)
    seq2seq, _, _ = open_model(folder, CPU)
    assert isinstance(seq2seq, Seq2Seq)
    expected = model(input_ids=SOURCE_BS, decoder_input_ids=TARGET_BT, output_hidden_states=True)
    found = {"encoder": streams(seq2seq.encoder), "decoder": streams(seq2seq.decoder)}
    logits = seq2seq(SOURCE_BS, TARGET_BT)
    for side, stack in (("encoder", seq2seq.encoder), ("decoder", seq2seq.decoder)):
        # Theirs lists the embedding, the stream after each block, and the last one normalised.
        last = stack.norm(found[side][-1])
        for stream, hidden in zip([*found[side][:-1], last], expected[f"{side}_hidden_states"], strict=True):
            close(stream, hidden)
    close(logits, expected.logits)
    assert logits.std() > 0.5


@pytest.mark.parametrize("name", ["t5", "marian", "bart"])
@torch.no_grad()
def test_padding_of_source_and_target_is_theirs(theirs, name):
    model, folder = theirs(name)
    seq2seq, _, _ = open_model(folder, CPU)
    expected = model(input_ids=SOURCE_BS, attention_mask=SOURCE_REAL, decoder_input_ids=TARGET_BT,
                     decoder_attention_mask=TARGET_REAL).logits  # fmt: skip
    logits = seq2seq(SOURCE_BS, TARGET_BT, documents(SOURCE_REAL), documents(TARGET_REAL))
    real = TARGET_REAL.bool()
    close(logits[real], expected[real])
    assert logits.isfinite().all()
    seen = seq2seq(SOURCE_BS, TARGET_BT, None, documents(TARGET_REAL))
    assert (seen[1] - logits[1]).abs().max() > 0.01  # padding that is not masked shows


def greedy(seq2seq, source_1S, start_id, steps):
    """The memory is computed once; each step reads one token."""
    memory = seq2seq.encode(source_1S)
    cache = KeyValueCache(seq2seq.config, rows=1, capacity=steps)
    ids = [start_id]
    for _ in range(steps):
        logits_11V = seq2seq.logits(seq2seq.hidden(torch.tensor([ids[-1:]]), memory, cache))
        ids.append(int(logits_11V.argmax()))
    return ids


@pytest.mark.parametrize("name", ["t5", "marian", "bart"])
@torch.no_grad()
def test_greedy_text_is_theirs(theirs, name):
    model, folder = theirs(name)
    seq2seq, tokenizer, _ = open_model(folder, CPU)
    assert tokenizer.start_id == 7
    model.generation_config.update(eos_token_id=None, forced_eos_token_id=None)  # to run all the way
    # Their cache for T5 is as deep as the encoder, and breaks where the decoder is deeper.
    theirs_1T = model.generate(SOURCE_BS[:1], max_new_tokens=8, do_sample=False, num_beams=1, use_cache=False)
    assert greedy(seq2seq, SOURCE_BS[:1], 7, steps=8) == theirs_1T[0].tolist()


# What published folders look like.


@pytest.mark.parametrize("name", ["t5", "t5 v1.1", "marian", "bart"])
@torch.no_grad()
def test_files_that_repeat_what_is_shared_open(theirs, name):
    model, folder = theirs(name)
    prefix = "" if name.startswith("t5") else "model."

    def published(tensors):
        shared = tensors[f"{prefix}shared.weight"]
        copies = [f"{prefix}encoder.embed_tokens.weight", f"{prefix}decoder.embed_tokens.weight"]
        copies += [] if name in HEADS_OF_THEIR_OWN else ["lm_head.weight"]
        return {**tensors, **{copy: shared.clone() for copy in copies}}

    damage(folder, published)
    close(
        open_model(folder, CPU)[0](SOURCE_BS, TARGET_BT), model(SOURCE_BS, decoder_input_ids=TARGET_BT).logits
    )
    copy = f"{prefix}decoder.embed_tokens.weight"
    damage(folder, lambda tensors: {**tensors, copy: tensors[copy] + 1})
    assert f"{copy} shares the weights of {prefix}shared.weight, but they differ" in refusal(folder)


@torch.no_grad()
def test_the_first_t5_files_open(theirs):
    """With a bias of cross-attention that nothing reads, and without the keys that came later."""
    model, folder = theirs("t5")
    leftover = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
    damage(folder, lambda tensors: {**tensors, leftover: torch.ones(8, 4)})
    values = json.loads((folder / "config.json").read_text())
    later = (
        "tie_word_embeddings",
        "scale_decoder_outputs",
        "feed_forward_proj",
        "dense_act_fn",
        "is_gated_act",
    )
    kept = {key: value for key, value in values.items() if key not in later}
    (folder / "config.json").write_text(json.dumps({**kept, "n_positions": 512}))
    seq2seq, _, _ = open_model(folder, CPU)
    close(seq2seq(SOURCE_BS, TARGET_BT), model(SOURCE_BS, decoder_input_ids=TARGET_BT).logits)


@torch.no_grad()
def test_t5_v11_as_published_opens(theirs):
    """By its own key; files that their newer versions have written say so by another."""
    model, folder = theirs("t5 v1.1")
    values = json.loads((folder / "config.json").read_text())
    assert (values["tie_word_embeddings"], values["scale_decoder_outputs"]) == (True, False)
    del values["scale_decoder_outputs"]
    (folder / "config.json").write_text(json.dumps({**values, "tie_word_embeddings": False}))
    seq2seq, _, _ = open_model(folder, CPU)
    close(seq2seq(SOURCE_BS, TARGET_BT), model(SOURCE_BS, decoder_input_ids=TARGET_BT).logits)


@torch.no_grad()
def test_an_unscaled_head_without_weights_is_the_embedding(tokenizer, tmp_path):
    """What their library makes of v1.1's settings from random weights."""
    model = scatter(T5ForConditionalGeneration(SHAPES["t5 v1.1"][1]))
    model.shared.weight.mul_(0.2)  # logits of a usual size: 1e-5 is a bound for those
    model.save_pretrained(tmp_path)
    tokenizer.save(tmp_path)
    seq2seq, _, _ = open_model(tmp_path, CPU)
    assert (seq2seq.config.tied, seq2seq.config.head_scale) == (True, 1.0)
    close(seq2seq(SOURCE_BS, TARGET_BT), model(SOURCE_BS, decoder_input_ids=TARGET_BT).logits)


def test_a_head_that_is_not_shared_must_be_there(theirs):
    _, folder = theirs("t5 v1.1")
    edit(folder, tie_word_embeddings=False)
    damage(folder, lambda tensors: {name: t for name, t in tensors.items() if name != "lm_head.weight"})
    assert "missing: lm_head.weight" in refusal(folder)


@torch.no_grad()
def test_stored_sinusoids_are_those_that_we_compute(theirs):
    model, folder = theirs("marian")
    table = model.model.encoder.embed_positions.weight
    stored = {f"model.{side}.embed_positions.weight": table.clone() for side in ("encoder", "decoder")}
    damage(folder, lambda tensors: {**tensors, **stored})
    seq2seq, _, _ = open_model(folder, CPU)
    close(seq2seq.encoder.embed.position.table_TC, table)
    close(seq2seq(SOURCE_BS, TARGET_BT), model(SOURCE_BS, decoder_input_ids=TARGET_BT).logits)


@torch.no_grad()
def test_a_bare_bart_opens(tokenizer, tmp_path):
    """As its base model was published: without the prefix, and without the bias of its head."""
    bare = BartModel(SHAPES["bart"][1])
    bare.save_pretrained(tmp_path)
    tokenizer.save(tmp_path)
    seq2seq, _, _ = open_model(tmp_path, CPU)
    assert not seq2seq.config.head_bias
    hidden = bare.eval()(input_ids=SOURCE_BS, decoder_input_ids=TARGET_BT).last_hidden_state
    close(seq2seq.hidden(TARGET_BT, seq2seq.encode(SOURCE_BS)), hidden)


# Ours opens in theirs.

T5_LIKE = {"position": "relative", "relative_buckets": 8, "relative_max_distance": 20, "attention_scale": 1.0,
           "activation": "relu", "gated": False, "head_size": 5}  # fmt: skip
PAPER = {"style": "transformer", "position_pairs": "halves"}
BART_LIKE = {**PAPER, "position": "learned", "position_offset": 2, "embedding_norm": True, "activation": "gelu",
             "embedding_scale": 1.0, "head_bias": True}  # fmt: skip
STYLES = {
    "t5": (T5_LIKE | {"head_scale": 24**-0.5}, T5ForConditionalGeneration),
    "t5, untied": (
        T5_LIKE | {"tied": False, "gated": True, "activation": "gelu_tanh"},
        T5ForConditionalGeneration,
    ),
    "t5, tied but unscaled": (T5_LIKE | {"activation": "gelu"}, T5ForConditionalGeneration),
    "marian": (PAPER | {"head_bias": True}, MarianMTModel),
    "marian, no bias": (PAPER, MarianMTModel),
    "bart": (BART_LIKE, BartForConditionalGeneration),
}


@pytest.mark.parametrize("name", STYLES)
@torch.no_grad()
def test_ours_in_theirs(ours, tokenizer, name):
    settings, kind = STYLES[name]
    seq2seq, folder = ours(**settings)
    model, info = AutoModelForSeq2SeqLM.from_pretrained(folder, output_loading_info=True)
    assert type(model) is kind
    assert not any(info[which] for which in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    close(seq2seq(SOURCE_BS, TARGET_BT), model.eval()(SOURCE_BS, decoder_input_ids=TARGET_BT).logits)
    for config in (model.config, model.generation_config):
        assert config.decoder_start_token_id == tokenizer.start_id == tokenizer.pad_id
        assert config.pad_token_id == tokenizer.pad_id
    assert model.config.eos_token_id == tokenizer.eos_id
    text = model.generate(SOURCE_BS[:1], max_new_tokens=6, min_new_tokens=6, do_sample=False, use_cache=False)
    assert text[0, 0] == tokenizer.start_id


@pytest.mark.parametrize("name", STYLES)
def test_theirs_after_ours_after_theirs_is_the_same_model(ours, tokenizer, tmp_path, name):
    seq2seq, folder = ours(**STYLES[name][0])
    AutoModelForSeq2SeqLM.from_pretrained(folder).save_pretrained(tmp_path / "again")
    tokenizer.save(tmp_path / "again")
    again, _, _ = open_model(tmp_path / "again", CPU)
    named = dict(again.named_parameters())
    for parameter_name, parameter in seq2seq.named_parameters():
        assert torch.equal(parameter, named.pop(parameter_name)), parameter_name
    # A bias that we left out is a bias of zeros in what they write.
    assert {name: int(value.count_nonzero()) for name, value in named.items()} in ({}, {"head.bias": 0})
    if not named:
        assert again.config == seq2seq.config


@pytest.mark.parametrize("name", ["t5", "t5 v1.1", "marian", "bart"])
def test_import_export_import_gives_the_same_bytes(theirs, tmp_path, name):
    _, folder = theirs(name)
    first = open_model(folder, CPU)
    save_model(tmp_path / "first", *first, {}, {})
    assert read_config(tmp_path / "first") == read_config(folder)
    second = open_model(tmp_path / "first", CPU)
    save_model(tmp_path / "second", *second, {}, {})
    files = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "second").iterdir())
    for file in files:
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes(), file
    values = json.loads((tmp_path / "second" / "config.json").read_text())
    original = json.loads((folder / "config.json").read_text())
    for key in ("decoder_start_token_id", "eos_token_id", "pad_token_id"):
        assert values[key] == original[key] == IDS[key], key


def test_the_2017_transformer_with_interleaved_sinusoids_is_written_in_our_own_names(ours):
    _, folder = ours(style="transformer")
    assert read_config(folder)[0].name == "hanlin"
    assert json.loads((folder / "config.json").read_text())["decoder_start_token_id"] is not None


# What we do not have is refused.


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("t5", {"is_encoder_decoder": False}),
        ("t5", {"feed_forward_proj": "gated-tanh", "dense_act_fn": "tanh"}),
        ("t5", {"tie_word_embeddings": False, "scale_decoder_outputs": True}),
        ("bart", {"decoder_ffn_dim": 48}),
        ("bart", {"decoder_attention_heads": 2}),
        ("bart", {"activation_function": "tanh"}),
        ("bart", {"tie_word_embeddings": False}),
        ("bart", {"normalize_before": True}),
        ("bart", {"static_position_embeddings": True}),
        ("bart", {"normalize_embedding": False}),
        ("marian", {"add_final_layer_norm": True}),
        ("marian", {"share_encoder_decoder_embeddings": False}),
        ("marian", {"decoder_vocab_size": 300}),
        ("marian", {"normalize_embedding": True}),
        ("marian", {"static_position_embeddings": False}),
    ],
)
def test_a_setting_that_we_do_not_have_is_refused(theirs, name, setting):
    _, folder = theirs(name)
    edit(folder, **setting)
    text = refusal(folder)
    assert any(f"config.json sets {key} to {value!r}" in text for key, value in setting.items()), text


def test_a_bias_of_another_shape_is_named(theirs):
    _, folder = theirs("bart")
    damage(folder, lambda tensors: {**tensors, "final_logits_bias": torch.zeros(V)})
    assert f"final_logits_bias has shape ({V},); config.json asks for (1, {V})" in refusal(folder)


def test_an_encoder_decoder_does_not_continue_text(theirs):
    _, folder = theirs("t5")
    with pytest.raises(CheckpointError, match="holds no model that continues text"):
        load_model(folder, CPU)
