"""Settings of GGUF files against config.json, and tensors against both."""

import struct

import gguf
import pytest
import torch

from gguf_files import LLAMA3_ROPE, small_config, write_small
from hanlin.base.device import Compute
from hanlin.base.errors import CheckpointError
from hanlin.checkpoint.folder import open_model
from hanlin.checkpoint.gguf.cursor import STRING
from hanlin.checkpoint.gguf.model import open_gguf
from hanlin.checkpoint.gguf.names import ROPE_FACTORS
from hanlin.checkpoint.gguf.rope import llama3_factors, llama3_parameters
from hanlin.checkpoint.gguf.settings import complete_config
from hanlin.checkpoint.recognize import read_config

YARN = {"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0, "original_max_position_embeddings": 32}
CONFIGS = {
    "llama": small_config(),
    "llama, tied": small_config(tie_word_embeddings=True),
    "llama, biases": small_config(attention_bias=True, mlp_bias=True),
    "llama 3": small_config(rope_parameters=LLAMA3_ROPE),
    "llama, linear": small_config(
        rope_parameters={"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0}
    ),
    "qwen2": small_config("qwen2"),
    "qwen2, yarn": small_config("qwen2", rope_parameters=YARN),
    "qwen3": small_config("qwen3", tie_word_embeddings=True),
    "qwen3, yarn": small_config("qwen3", rope_parameters={**YARN, "beta_fast": 16.0, "beta_slow": 2.0}),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_what_is_written_is_read_back(name, tmp_path):
    config = CONFIGS[name]
    weights = write_small(tmp_path / "a.gguf", config)
    opened = open_gguf(tmp_path / "a.gguf")
    assert {key: opened.config[key] for key in config} == config
    assert set(opened.tensors) == weights.keys()
    for tensor in weights:
        assert torch.equal(opened.tensors.load(tensor), weights[tensor])
        assert opened.tensors.shape(tensor) == list(weights[tensor].shape)


def test_older_ways_to_write_rotary_settings_mean_the_same():
    new = complete_config(small_config(rope_parameters=LLAMA3_ROPE))
    scaling = {key: value for key, value in LLAMA3_ROPE.items() if key not in ("rope_type", "rope_theta")}
    old = small_config(rope_theta=500000.0, rope_scaling={"type": "llama3", **scaling})
    del old["rope_parameters"]
    assert complete_config(old)["rope_parameters"] == new["rope_parameters"]


def test_llama_3_factors_are_those_of_the_reference():
    """The loop of the published code, value by value."""
    frequencies = 500000.0 ** -(torch.arange(0, 128, 2) / 128)
    expected = []
    for frequency in frequencies.tolist():
        wavelength = 2 * torch.pi / frequency
        if wavelength < 8192 / 4:
            expected.append(1.0)
        elif wavelength > 8192:
            expected.append(8.0)
        else:
            smooth = (8192 / wavelength - 1) / 3
            expected.append(1 / ((1 - smooth) / 8 + smooth))
    factors = llama3_factors({**LLAMA3_ROPE, "original_max_position_embeddings": 8192}, 128)
    assert len(set(expected)) > 5
    assert torch.allclose(factors, torch.tensor(expected), rtol=1e-5, atol=0)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"hidden_act": "relu"}, "hidden_act"),
        ({"use_sliding_window": True}, "use_sliding_window"),
        ({"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}, "rope_parameters"),
        ({"rope_parameters": {**YARN, "attention_factor": 2.0}}, "rope_parameters"),
        ({"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4}}, "rope_parameters"),
    ],
)
def test_what_gguf_cannot_say_is_refused(changes, key):
    with pytest.raises(CheckpointError, match=f"sets {key}"):
        complete_config(small_config("qwen2", **changes))


def test_another_family_is_refused_with_those_that_can():
    with pytest.raises(CheckpointError, match=r"'gpt2'(.|\n)*llama, qwen2, qwen3"):
        complete_config(small_config("gpt2"))


def packed(value):
    if isinstance(value, str):
        data = value.encode()
        return struct.pack("<IQ", STRING, len(data)) + data
    return struct.pack("<If", 6, value) if isinstance(value, float) else struct.pack("<II", 4, value)


def patch(path, key, value, new_key=None):
    """Change one number or text in a written file; a text keeps its length."""
    data = path.read_bytes()
    name = struct.pack("<Q", len(key)) + key.encode()
    assert data.count(name) == 1
    place = data.index(name)
    new = struct.pack("<Q", len(key)) + (new_key or key).encode() + packed(value)
    path.write_bytes(data[:place] + new + data[place + len(new) :])


WRONG = {
    "architecture": ("general.architecture", "lamma", "is of the kind 'lamma'"),
    "no layers": ("llama.block_count", 0, "sets llama.block_count to 0"),
    "a billion layers": ("llama.block_count", 2**30, "announces 1073741824 layers, and has 21 tensors"),
    "a layer more": ("llama.block_count", 3, "the tensor blk.2.attn_q.weight is missing"),
    "a layer less": ("llama.block_count", 1, "is no part of a llama of 1 layers"),
    "width": ("llama.embedding_length", 128, "its settings ask for"),
    "heads": ("llama.attention.head_count", 8, "blk.0.attn_q.weight has shape (64, 64)"),
    "absurd window": ("llama.context_length", 2**32 - 1, "sets llama.context_length to 4294967295"),
    "vocabulary": ("llama.vocab_size", 299, "sets llama.vocab_size to 299"),
    "epsilon": ("llama.attention.layer_norm_rms_epsilon", 0.0, "layer_norm_rms_epsilon to 0.0"),
    "infinite": ("llama.rope.freq_base", float("inf"), "llama.rope.freq_base to inf"),
    "whole for real": ("llama.rope.freq_base", 10000, "llama.rope.freq_base to 10000"),
    "partial rotation": ("llama.rope.dimension_count", 8, "llama.rope.dimension_count to 8"),
    "end token": ("tokenizer.ggml.eos_token_id", 300, "eos_token_id is 300, outside its 300 tokens"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_file_that_contradicts_itself_is_refused_by_name(name, tmp_path):
    key, value, words = WRONG[name]
    path = tmp_path / "a.gguf"
    write_small(path)
    open_gguf(path)
    patch(path, key, value)
    with pytest.raises(CheckpointError) as caught:
        open_gguf(path)
    assert words in caught.value.problem.en
    assert str(path) in caught.value.problem.en


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("llama.context_length", 1),
        ("llama.rope.freq_base", 0.5),
        ("llama.attention.layer_norm_rms_epsilon", 2.0),
    ],
)
def test_a_setting_that_no_model_can_have_is_refused_by_name(key, value, tmp_path):
    write_small(tmp_path / "a.gguf")
    patch(tmp_path / "a.gguf", key, value)
    for opening in (read_config, lambda path: open_model(path, Compute(torch.device("cpu"), torch.float32))):
        with pytest.raises(CheckpointError, match=r"a\.gguf is damaged"):
            opening(tmp_path / "a.gguf")


def test_a_setting_that_is_not_known_is_refused_with_the_nearest(tmp_path):
    path = tmp_path / "a.gguf"
    write_small(path)
    patch(path, "llama.rope.freq_base", 10000.0, new_key="llama.rope.freq_bias")
    with pytest.raises(
        CheckpointError, match=r"llama\.rope\.freq_bias is not known here \(nearest: llama\.rope\.freq_base"
    ):
        open_gguf(path)  # fmt: skip


def test_a_tensor_that_does_not_belong_is_refused_by_name(tmp_path):
    path = tmp_path / "a.gguf"
    write_small(path)
    path.write_bytes(path.read_bytes().replace(b"blk.1.ffn_gate.weight", b"blk.1.ffn_gout.weight"))
    with pytest.raises(CheckpointError, match=r"the tensor blk\.1\.ffn_gout\.weight is no part of a llama"):
        open_gguf(path)


def test_factors_of_another_kind_are_refused(tmp_path):
    path = tmp_path / "a.gguf"
    write_small(path, small_config(rope_parameters=LLAMA3_ROPE))
    place = next(tensor for tensor in gguf.GGUFReader(path).tensors if tensor.name == ROPE_FACTORS)
    data = bytearray(path.read_bytes())
    data[place.data_offset : place.data_offset + 32] = struct.pack("<8f", *range(1, 9))
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="not the scaling of a Llama 3"):
        open_gguf(path)


def test_published_files_name_no_length_and_are_recognised_by_their_factors():
    rope = {**LLAMA3_ROPE, "factor": 32.0, "original_max_position_embeddings": 8192}
    assert llama3_parameters(llama3_factors(rope, 64), 500000.0, None) == rope
    assert llama3_parameters(llama3_factors({**rope, "low_freq_factor": 2.0}, 64), 500000.0, None) is None
