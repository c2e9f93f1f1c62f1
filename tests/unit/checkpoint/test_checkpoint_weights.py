"""Weights of every number format and layout, mapped, copied, in shards: the values, and the memory they take."""

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.tiny import CPU, scatter

from hanlin.base.errors import CheckpointError
from hanlin.base.files import atomic_folder
from hanlin.checkpoint.families.gpt2 import GPT2
from hanlin.checkpoint.families.llama import LLAMA
from hanlin.checkpoint.keys import Entry
from hanlin.checkpoint.tensor_files import TensorFiles
from hanlin.checkpoint.weights import _fill_parts, check_size, read_weights, write_weights
from hanlin.model.assemble import build_empty
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder

SHAPE = {"vocab_size": 300, "width": 32, "layers": 3, "heads": 4, "ffn_width": 48, "window": 64}
FAMILIES = {"llama": LLAMA, "gpt2": GPT2}
IDS_BT = torch.randint(300, (2, 24), generator=torch.Generator().manual_seed(1))


def decoder(style="llama", dtype=torch.float32):
    return scatter(Decoder(CoreConfig.model_validate({**SHAPE, "style": style, "tied": False}))).to(dtype)


def opened(folder, config, dtype=torch.float32):
    family = FAMILIES["gpt2" if config.position == "learned" else "llama"]
    model = build_empty(config, CPU.device, dtype)
    read_weights(folder, model, family)
    return model.eval()


def is_mapped(parameter):
    """Whether its memory is a part of the file."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, _, end = line.split()[0].partition("-")
        if int(start, 16) <= parameter.data_ptr() < int(end, 16):
            return ".safetensors" in line
    return False


@pytest.mark.parametrize("style", FAMILIES)
@pytest.mark.parametrize("there", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("here", [torch.float32, torch.bfloat16])
def test_any_format_opens_in_any_other(tmp_path, style, there, here):
    model = decoder(style, there)
    write_weights(tmp_path, model, FAMILIES[style])
    again = opened(tmp_path, model.config, here)
    for (name, parameter), other in zip(model.named_parameters(), again.parameters(), strict=True):
        assert other.dtype == here
        assert torch.equal(parameter.to(here), other), name
    assert is_mapped(again.norm.weight) == (there == here)
    assert torch.isfinite(again(IDS_BT)).all()


@pytest.mark.parametrize("style", FAMILIES)
def test_a_large_tensor_arrives_whole_though_it_comes_in_pieces(tmp_path, monkeypatch, style):
    model = decoder(style, torch.bfloat16)
    write_weights(tmp_path, model, FAMILIES[style], shard_bytes=20_000)
    monkeypatch.setattr("hanlin.checkpoint.tensor_files._PIECE_BYTES", 1000)
    again = opened(tmp_path, model.config)
    for parameter, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(parameter.float(), other)


@pytest.mark.parametrize("layout", ["same", "transposed"])
@pytest.mark.parametrize("size", [1, 4, 9, 40])
def test_a_fused_tensor_is_divided_wherever_its_pieces_end(layout, size):
    whole = torch.randn(23, 5)
    stored = whole.t() if layout == "transposed" else whole
    parts = [torch.nn.Parameter(torch.zeros(rows, 5)) for rows in (7, 3, 13)]
    with torch.no_grad():
        _fill_parts(Entry("qkv", ("q", "k", "v"), layout), parts, iter(torch.split(stored, size)))
    assert torch.equal(torch.cat(parts), whole)


@pytest.mark.parametrize("style", FAMILIES)
def test_shards_hold_every_tensor_once_and_say_where(tmp_path, style):
    model = decoder(style)
    write_weights(tmp_path, model, FAMILIES[style], shard_bytes=20_000)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    files = sorted(path.name for path in tmp_path.glob("*.safetensors"))
    assert files == [f"model-{i:05}-of-{len(files):05}.safetensors" for i in range(1, len(files) + 1)]
    assert len(files) > 3
    held = {name: file for file in files for name in load_file(tmp_path / file)}
    assert held == index["weight_map"]
    assert index["metadata"]["total_size"] == sum(parameter.nbytes for parameter in model.parameters())
    for file in files:
        tensors = load_file(tmp_path / file)
        assert sum(tensor.nbytes for tensor in tensors.values()) <= 20_000 or len(tensors) == 1
    assert torch.equal(opened(tmp_path, model.config)(IDS_BT), model(IDS_BT))


def test_whoever_may_read_other_files_may_read_weights(tmp_path):
    write_weights(tmp_path, decoder(), LLAMA)
    (tmp_path / "plain").touch()
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("model.safetensors", "plain")]
    assert modes[0] == modes[1]


def test_a_missing_tensor_is_not_said_to_be_nearest_to_itself(tmp_path):
    model = decoder()
    write_weights(tmp_path, model, LLAMA)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["lm_head.weight"]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError) as caught:
        opened(tmp_path, model.config)
    assert "missing: lm_head.weight" in caught.value.problem.en
    assert "nearest" not in caught.value.problem.en


def test_small_weights_are_one_file(tmp_path):
    write_weights(tmp_path, decoder(), LLAMA)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_packed_numbers_are_refused(tmp_path):
    model = decoder()
    write_weights(tmp_path, model, LLAMA)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["model.norm.weight"] = tensors["model.norm.weight"].to(torch.int8)
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"model\.norm\.weight is stored as int8"):
        opened(tmp_path, model.config)


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"layers": 10**4}, "10,000 layers"), ({"vocab_size": 2**31 - 1}, "parameters; the weights in")],
)
def test_a_model_that_its_weights_cannot_be_is_refused_before_it_is_built(tmp_path, settings, words):
    model = decoder()
    write_weights(tmp_path, model, LLAMA)
    tensors = TensorFiles(tmp_path)
    check_size(model.config, tensors, "here")
    with pytest.raises(CheckpointError, match=words):
        check_size(CoreConfig.model_validate({**model.config.model_dump(), **settings}), tensors, "here")


def test_training_a_mapped_model_leaves_the_file_alone(tmp_path):
    model = decoder()
    write_weights(tmp_path, model, LLAMA)
    before = (tmp_path / "model.safetensors").read_bytes()
    mapped = opened(tmp_path, model.config).train()
    assert all(is_mapped(parameter) for parameter in mapped.parameters())
    optimizer = torch.optim.AdamW(mapped.parameters(), lr=0.1)
    mapped(IDS_BT).square().mean().backward()
    optimizer.step()
    assert (mapped.norm.weight - model.norm.weight).abs().min() > 0.05
    assert (tmp_path / "model.safetensors").read_bytes() == before
    assert torch.equal(opened(tmp_path, model.config)(IDS_BT), model(IDS_BT))


def test_a_mapped_model_survives_a_new_one_in_its_folder(tmp_path):
    model, folder = decoder(), tmp_path / "model"
    for sign in (1, -1):
        with torch.no_grad():
            model.norm.weight.mul_(sign)
        with atomic_folder(folder) as fresh:
            write_weights(fresh, model, LLAMA)
        if sign == 1:
            old, said = opened(folder, model.config), model(IDS_BT)
    assert torch.equal(old(IDS_BT), said)
    assert torch.equal(opened(folder, model.config)(IDS_BT), model(IDS_BT))
    with atomic_folder(folder) as fresh:  # over the very file that it lies in
        write_weights(fresh, old, LLAMA)
    assert torch.equal(old(IDS_BT), said)
    assert torch.equal(opened(folder, model.config)(IDS_BT), said)


MEASURE = """
import json, sys
import torch
from pathlib import Path
from hanlin.checkpoint.recognize import FAMILIES
from hanlin.checkpoint.weights import _fill_parts, read_weights
from hanlin.model.assemble import build_empty
from hanlin.model.config import CoreConfig

def status(key):  # of this program only: getrusage would count the memory of the one that started it
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(key)))

torch.set_num_threads(1)
config, dtype = CoreConfig.model_validate(json.loads(sys.argv[2])), getattr(torch, sys.argv[4])
before = status("VmRSS")
model = build_empty(config, torch.device("cpu"), dtype)
read_weights(Path(sys.argv[1]), model, FAMILIES[sys.argv[3]])
for parameter in model.parameters():
    parameter.detach().flatten()[::512].sum()  # every page, as if it were used
assert "sympy" not in sys.modules  # an outline must not load torch's compiler: seconds, and 80 MB
print((status("VmHWM") - before) / sum(parameter.nbytes for parameter in model.parameters()))
"""

BIG = {"vocab_size": 60_000, "width": 512, "layers": 12, "heads": 8, "ffn_width": 2048, "window": 64}


@pytest.mark.parametrize(
    ("style", "there", "here"),
    [
        ("llama", "float32", "float32"),
        ("llama", "bfloat16", "float32"),
        ("gpt2", "float32", "float32"),
    ],
    ids=["mapped", "converted", "transposed"],
)
def test_loading_takes_at_most_a_fifth_more_than_the_weights(tmp_path, style, there, here):
    config = CoreConfig.model_validate({**BIG, "style": style})
    model = build_empty(config, CPU.device, getattr(torch, there))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.5)
    write_weights(tmp_path, model, FAMILIES[style])
    arguments = [str(tmp_path), config.model_dump_json(), style, here]
    done = subprocess.run([sys.executable, "-c", MEASURE, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert 0.95 < float(done.stdout) <= 1.2, done.stdout
