"""Weights in GGUF files: what is stored how, in which order, and whole or not at all."""

import gguf
import numpy as np
import pytest
import torch

from gguf_files import Held, random_weights, save_tokenizer, small_config, write_small
from hanlin.base.errors import CheckpointError
from hanlin.checkpoint.gguf.model import open_gguf
from hanlin.checkpoint.gguf.names import halves_together, pairs_together
from hanlin.checkpoint.gguf.quants import BY_NAME, FORMATS, dequantize
from hanlin.checkpoint.gguf.write import write_gguf


def stored(path):
    return {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}


@pytest.mark.parametrize("kind", ["F32", "F16", "Q8_0", "Q4_0"])
def test_the_gguf_package_reads_what_we_write_as_we_do(kind, tmp_path):
    config = small_config("qwen2")  # rows in the same order on both sides
    weights = write_small(tmp_path / "a.gguf", config, kind)
    ours = open_gguf(tmp_path / "a.gguf").tensors
    theirs = stored(tmp_path / "a.gguf")
    assert len(theirs) == len(weights)
    for name, theirs_name in (
        ("model.embed_tokens.weight", "token_embd.weight"),
        ("model.layers.1.self_attn.k_proj.weight", "blk.1.attn_k.weight"),
        ("model.layers.0.self_attn.q_proj.bias", "blk.0.attn_q.bias"),
        ("model.layers.1.post_attention_layernorm.weight", "blk.1.ffn_norm.weight"),
        ("lm_head.weight", "output.weight"),
    ):
        tensor = theirs[theirs_name]
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        assert np.array_equal(ours.load(name).numpy(), values)
    # Half a step of 127, or a whole one of 8 where the range is cut; and the step itself is in float16.
    bounds = {"F32": 0.0, "F16": 0.0, "Q8_0": 1 / 254 + 2**-11, "Q4_0": 1 / 8 + 2**-11}
    for name, weight in weights.items():
        rounding = (ours.load(name) - weight).abs().max() / weight.abs().max()
        assert rounding <= (bounds[kind] if weight.dim() > 1 else 0.0), name
        assert (rounding > 0) == (weight.dim() > 1 and bounds[kind] > 0)


def test_files_of_few_bits_keep_more_where_it_matters(tmp_path):
    write_small(tmp_path / "untied.gguf", small_config(), "Q4_0")
    write_small(tmp_path / "tied.gguf", small_config(tie_word_embeddings=True), "Q4_0")
    write_small(tmp_path / "odd.gguf", small_config(intermediate_size=90), "Q8_0")
    untied, tied, odd = (stored(tmp_path / f"{name}.gguf") for name in ("untied", "tied", "odd"))
    kinds = {name: tensor.tensor_type.name for name, tensor in untied.items()}
    assert kinds["output.weight"] == "Q8_0"
    assert kinds["token_embd.weight"] == kinds["blk.0.ffn_down.weight"] == "Q4_0"
    assert kinds["blk.0.attn_norm.weight"] == kinds["output_norm.weight"] == "F32"
    assert "output.weight" not in tied
    assert tied["token_embd.weight"].tensor_type.name == "Q8_0"
    assert odd["blk.0.ffn_down.weight"].tensor_type.name == "F16"  # rows of 90 are no whole blocks
    assert odd["blk.0.ffn_up.weight"].tensor_type.name == "Q8_0"


def test_query_and_key_rows_of_a_llama_are_stored_as_pairs(tmp_path):
    """The formula of llama.cpp's converter, written out: row 2i of a head is its row i, row 2i+1 is i + D/2."""
    weights = write_small(tmp_path / "a.gguf", small_config())
    theirs = stored(tmp_path / "a.gguf")
    for part, heads in (("q", 4), ("k", 2)):
        plain = weights[f"model.layers.1.self_attn.{part}_proj.weight"].reshape(heads, 16, 64)
        swapped = theirs[f"blk.1.attn_{part}.weight"].data.reshape(heads, 16, 64)
        for i in range(8):
            assert np.array_equal(swapped[:, 2 * i], plain[:, i].numpy())
            assert np.array_equal(swapped[:, 2 * i + 1], plain[:, i + 8].numpy())
    assert np.array_equal(
        theirs["blk.1.attn_v.weight"].data, weights["model.layers.1.self_attn.v_proj.weight"].numpy()
    )


@pytest.mark.parametrize("shape", [(12, 5), (12,)])
def test_the_two_orders_of_rows_are_inverse(shape):
    tensor = torch.randn(shape)
    assert torch.equal(halves_together(pairs_together(tensor, 6), 6), tensor)
    assert not torch.equal(pairs_together(tensor, 6), tensor)


@pytest.mark.parametrize("name", [name for name in BY_NAME if name not in ("F32", "F16")])
def test_every_format_is_read_as_the_gguf_package_reads_it(name):
    format = BY_NAME[name]
    rows, columns = 3, 2 * 256
    data = np.random.default_rng(0).integers(0, 256, (rows, columns // format.block * format.bytes), np.uint8)
    with np.errstate(all="ignore"):  # random scales are sometimes infinite
        theirs = gguf.quants.dequantize(data, gguf.GGMLQuantizationType(format.id))
        ours = dequantize(data, format, (rows, columns)).numpy()
    assert np.array_equal(ours, theirs, equal_nan=True)


def test_large_tensors_are_turned_piece_by_piece_into_the_same_values():
    format = FORMATS[8]
    data = np.random.default_rng(0).integers(0, 60, (1000, 320 // 32 * 34), np.uint8)
    theirs = gguf.quants.dequantize(data, gguf.GGMLQuantizationType.Q8_0)
    assert np.array_equal(dequantize(data, format, (1000, 320)).numpy(), theirs)


def test_the_same_model_gives_the_same_bytes_and_survives_a_round_trip(tmp_path):
    write_small(tmp_path / "a.gguf", kind="Q8_0", name="same")
    write_small(tmp_path / "b.gguf", kind="Q8_0", name="same")
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()
    opened = open_gguf(tmp_path / "a.gguf")
    write_gguf(
        tmp_path / "c.gguf", opened.config, opened.tensors, tmp_path / "tokenizer", "Q8_0", name="same"
    )
    assert (tmp_path / "c.gguf").read_bytes() == (tmp_path / "a.gguf").read_bytes()


def test_a_file_that_cannot_be_finished_leaves_the_old_one(tmp_path):
    path = tmp_path / "a.gguf"
    write_small(path)
    before = path.read_bytes()
    config = small_config()
    weights = random_weights(config)
    weights["model.layers.1.mlp.up_proj.weight"][3, 3] = 1e5
    with pytest.raises(CheckpointError, match=r"layers\.1\.mlp\.up_proj\.weight has values beyond the range"):
        write_gguf(path, config, weights, tmp_path / "tokenizer", "F16")
    assert path.read_bytes() == before
    assert sorted(child.name for child in tmp_path.iterdir()) == ["a.gguf", "tokenizer"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model.norm.weight": None}, "model.norm.weight is missing"),
        ({"model.norm.bias": torch.zeros(64)}, "model.norm.bias is unknown"),
        ({"model.norm.weight": torch.zeros(63)}, r"model.norm.weight has shape \(63,\), not \(64,\)"),
    ],
)
def test_weights_that_do_not_fit_are_refused_before_writing(change, words, tmp_path):
    config = small_config()
    weights = Held({**random_weights(config), **change})
    weights = Held({name: weight for name, weight in weights.items() if weight is not None})
    with pytest.raises(CheckpointError, match=words):
        write_gguf(tmp_path / "a.gguf", config, weights, save_tokenizer(tmp_path / "tokenizer"), "F32")
    assert not (tmp_path / "a.gguf").exists()


def test_a_tied_head_may_repeat_the_embedding_but_not_differ_from_it(tmp_path):
    config = small_config(tie_word_embeddings=True)
    weights = random_weights(config)
    folder = save_tokenizer(tmp_path / "tokenizer")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
    write_gguf(tmp_path / "a.gguf", config, weights, folder, "F32")
    assert "lm_head.weight" not in set(open_gguf(tmp_path / "a.gguf").tensors)
    weights["lm_head.weight"][0, 0] += 1
    with pytest.raises(CheckpointError, match="differs from the embedding"):
        write_gguf(tmp_path / "a.gguf", config, weights, folder, "F32")


def test_half_precision_weights_are_written_without_loss(tmp_path):
    config = small_config()
    weights = Held({name: weight.bfloat16() for name, weight in random_weights(config).items()})
    write_gguf(tmp_path / "a.gguf", config, weights, save_tokenizer(tmp_path / "tokenizer"), "F32")
    tensors = open_gguf(tmp_path / "a.gguf").tensors
    for name, weight in weights.items():
        assert torch.equal(tensors.load(name), weight.float())
