"""GGUF files that we write, in llama.cpp: the same ids and the same greedy text. Needs llama-cpp-python."""

import json

import pytest
import tokenizers
import torch
from tokenizers import decoders, models, pre_tokenizers, trainers
from transformers import AutoConfig, AutoModelForCausalLM

from gguf_files import LLAMA3_ROPE, random_weights, save_pieces, save_tokenizer, small_config, write_small
from hanlin.checkpoint.gguf.model import open_gguf
from hanlin.checkpoint.gguf.splits import PROBES, SPLITS
from hanlin.checkpoint.gguf.write import write_gguf
from hanlin.checkpoint.recognize import FAMILIES
from hanlin.checkpoint.weights import fill_model
from hanlin.model.assemble import build_empty
from hanlin.tokenizer.tokenizer import Tokenizer

llama_cpp = pytest.importorskip("llama_cpp")

YARN = {"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0, "original_max_position_embeddings": 32}
CONFIGS = {
    "llama": small_config(),
    "llama, tied": small_config(tie_word_embeddings=True),
    "llama, biases": small_config(attention_bias=True),
    "llama 3": small_config(rope_parameters=LLAMA3_ROPE),
    "llama, linear": small_config(rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}),
    "qwen2": small_config("qwen2"),
    "qwen2, yarn": small_config("qwen2", rope_parameters=YARN),
    "qwen3": small_config("qwen3"),
}


def in_llama_cpp(path, **options):
    return llama_cpp.Llama(str(path), n_ctx=128, n_threads=1, verbose=False, **options)


def in_hanlin(path):
    opened = open_gguf(path)
    family = FAMILIES[opened.config["model_type"]]
    model = build_empty(family.read(opened.config), torch.device("cpu")).eval()
    fill_model(model, family, opened.tensors, str(path))
    return model


@pytest.mark.parametrize("name", CONFIGS)
def test_logits_are_those_of_transformers_and_ours(name, tmp_path):
    weights = write_small(tmp_path / "a.gguf", CONFIGS[name])
    config = AutoConfig.for_model(**open_gguf(tmp_path / "a.gguf").config)
    reference = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    reference.load_state_dict(weights, strict=False)
    reference.tie_weights()
    ids = torch.randint(300, (100,), generator=torch.Generator().manual_seed(1)).tolist()
    model = in_llama_cpp(tmp_path / "a.gguf", logits_all=True)
    model.eval(ids)
    with torch.no_grad():
        expected = reference(torch.tensor([ids])).logits[0]
        ours = in_hanlin(tmp_path / "a.gguf")(torch.tensor([ids]))[0]
    found = torch.from_numpy(model.scores[: len(ids)].copy())
    assert expected.std() > 0.5
    assert (ours - expected).abs().max() < 1e-5 * expected.abs().max()
    assert (found - expected).abs().max() < 2e-3 * expected.abs().max()


@pytest.mark.parametrize("kind", ["F32", "F16", "Q8_0", "Q4_0"])
def test_greedy_text_is_ours(kind, tmp_path):
    path = tmp_path / "a.gguf"
    write_small(path, kind=kind)
    ours, model = in_hanlin(path), in_llama_cpp(path)
    ids = Tokenizer(open_gguf(path).tokenizer).encode("The scholars")
    new = [id for id, _ in zip(model.generate(ids, temp=0.0, repeat_penalty=1.0), range(40), strict=False)]
    with torch.no_grad():
        logits_NV = ours(torch.tensor([ids + new]))[0, len(ids) - 1 : -1]
    gaps_N = logits_NV.max(-1).values - logits_NV[range(len(new)), new]
    # llama.cpp rounds activations to 8 bits beside quantised weights, and to 16 beside those of 16.
    assert gaps_N.max() <= {"F32": 1e-4, "F16": 0.02, "Q8_0": 0.5, "Q4_0": 0.5}[kind]


@pytest.mark.parametrize("name", CONFIGS)
def test_our_own_config_json_becomes_the_same_file(name, tmp_path):
    """From the settings of our core, as when a model that was trained here is written."""
    write_small(tmp_path / "a.gguf", CONFIGS[name], name="same")
    opened = open_gguf(tmp_path / "a.gguf")
    family = FAMILIES[opened.config["model_type"]]
    config = {"model_type": family.name, **family.write(family.read(opened.config))}
    write_gguf(tmp_path / "b.gguf", config, opened.tensors, tmp_path / "tokenizer", "F32", name="same")
    again = open_gguf(tmp_path / "b.gguf")
    assert family.read(again.config) == family.read(opened.config)


def save_merging_everything(folder, split):
    """A vocabulary whose merges cross every border, so that where text is cut shows in the ids."""
    save_tokenizer(folder)
    built = tokenizers.Tokenizer(models.BPE())
    built.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trainer = trainers.BpeTrainer(
        vocab_size=1500,
        special_tokens=["<|endoftext|>", "<|pad|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    built.train_from_iterator([text[start:] for text in PROBES for start in range(3)], trainer)
    built.decoder = decoders.ByteLevel()
    definition = json.loads(built.to_str())
    definition["pre_tokenizer"] = split.pre_tokenizer
    definition["normalizer"] = split.normal_form and {"type": split.normal_form}
    definition["model"]["ignore_merges"] = split.ignore_merges
    (folder / "tokenizer.json").write_text(json.dumps(definition))
    return folder


@pytest.mark.parametrize("name", SPLITS)
def test_every_scheme_cuts_as_llama_cpp_does(name, tmp_path):
    folder = save_merging_everything(tmp_path / "own", SPLITS[name])
    config = small_config(vocab_size=1500)
    write_gguf(tmp_path / "a.gguf", config, random_weights(config), folder, "F32")
    own, theirs = Tokenizer.load(folder), in_llama_cpp(tmp_path / "a.gguf", vocab_only=True)
    assert theirs.metadata["tokenizer.ggml.pre"] == name
    for text in PROBES:
        assert theirs.tokenize(text.encode(), add_bos=False, special=False) == own.encode(text), text


@pytest.mark.parametrize("prefix", [True, False])
def test_sentence_pieces_are_those_of_llama_cpp(prefix, tmp_path):
    folder = save_pieces(tmp_path / "own", prefix)
    config = small_config()
    write_gguf(tmp_path / "a.gguf", config, random_weights(config), folder, "F32")
    own, theirs = Tokenizer.load(folder), in_llama_cpp(tmp_path / "a.gguf", vocab_only=True)
    for text in ("The scholars read histories in 1723: 翰林院的学士们读史书。", *PROBES):
        assert theirs.tokenize(text.encode(), add_bos=False, special=False) == own.encode(text), text


def test_special_tokens_stand_where_they_do_here(tmp_path):
    write_small(tmp_path / "a.gguf")
    own = Tokenizer(open_gguf(tmp_path / "a.gguf").tokenizer)
    theirs = in_llama_cpp(tmp_path / "a.gguf", vocab_only=True)
    assert theirs.tokenize(b"The scholars", add_bos=True, special=False) == own.encode_prompt("The scholars")
    assert theirs.tokenize(b"a<|im_end|>b", add_bos=False, special=False) == own.encode("a<|im_end|>b")
    ends = theirs.tokenize(b"<|im_end|><|endoftext|>", add_bos=False, special=True)
    assert set(ends) == set(own.stop_ids)
    assert all(llama_cpp.llama_vocab_is_eog(theirs._model.vocab, id) for id in ends)
    assert theirs.metadata["tokenizer.chat_template"] == own.chat_templates["default"]
