"""Which engine opens a model, why, and what is said where it cannot."""

import builtins
import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch
from tests.gguf_files import write_small
from tests.tiny import CPU, scatter

from hanlin.base.errors import CheckpointError, ConfigError, MissingExtra
from hanlin.checkpoint.adapters.write import save_adapter
from hanlin.checkpoint.defaults import GenerationDefaults
from hanlin.checkpoint.families.gpt2 import GPT2
from hanlin.checkpoint.families.llama import LLAMA
from hanlin.checkpoint.folder import build_described, describe_model, save_model
from hanlin.generate.engine_choice import choose_engine
from hanlin.generate.open_engine import open_engine
from hanlin.generate.parameters import SamplingParameters
from hanlin.generate.runner import Chunk
from hanlin.kernel.library import available
from hanlin.model.adapters.adapters import Adapters
from hanlin.model.adapters.config import LoraConfig
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder

needs_kernel = pytest.mark.skipif(not available(), reason="the kernel is not built")
needs_llamacpp = pytest.mark.skipif(
    importlib.util.find_spec("llama_cpp") is None, reason="no llama-cpp-python"
)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("opened") / "tiny.gguf"
    write_small(path, kind="Q4_0")
    return path


@pytest.fixture(scope="module")
def folder(file):
    """The same weights, dequantised, as a Llama folder."""
    described = describe_model(file)
    model = build_described(described, CPU)
    target = file.parent / "folder"
    save_model(target, model, described.tokenizer, described.defaults, {}, {}, LLAMA)
    return target


@pytest.fixture(scope="module")
def gpt2(file):
    """A model that the kernel does not compute."""
    torch.manual_seed(0)
    config = CoreConfig(
        vocab_size=300, width=32, layers=1, heads=2, position="learned", norm="layer", gated=False
    )
    target = file.parent / "gpt2"
    save_model(
        target, scatter(Decoder(config)), describe_model(file).tokenizer, GenerationDefaults(), {}, {}, GPT2
    )
    return target


def greedy(opened, length=10):
    ids = opened.tokenizer.encode_prompt("The scholars read")
    generation = opened.engine.submit(ids, SamplingParameters(temperature=0.0, max_new_tokens=length))
    while opened.engine.busy:
        opened.engine.step()
    return generation.token_ids


@needs_kernel
def test_auto_takes_the_kernel_and_says_so(file):
    opened = open_engine(file)
    assert (opened.name, opened.engine.runner.name, opened.model) == ("kernel", "kernel", file)
    assert "kernel" in opened.reason.en
    assert "内核" in opened.reason.zh
    assert len(greedy(opened)) == 10


@needs_kernel
def test_adapters_and_what_the_kernel_cannot_compute_go_to_torch(folder, gpt2, tmp_path):
    model = build_described(describe_model(folder), CPU)
    adapters = Adapters(model)
    adapters.add("formal", LoraConfig(rank=2, layers=("attention.query",)))
    with torch.no_grad():
        for change in adapters.changes("formal").values():
            change.up_OR.normal_()
    save_adapter(tmp_path / "formal", adapters, "formal", LLAMA, str(folder))
    opened = open_engine(folder, adapters={"formal": tmp_path / "formal"})
    assert (opened.name, list(opened.engine.adapters.configs)) == ("torch", ["formal"])
    assert "adapters" in opened.reason.en
    runner = opened.engine.runner
    base, adapted = runner.forward([Chunk(0, [5, 6, 7]), Chunk(1, [5, 6, 7], adapter="formal")])
    assert not torch.allclose(base, adapted, atol=1e-2)
    with pytest.raises(ConfigError, match="takes no adapters"):
        open_engine(folder, engine="kernel", adapters={"formal": tmp_path / "formal"})
    opened = open_engine(gpt2)
    assert opened.name == "torch"
    assert "position learned" in opened.reason.en
    assert isinstance(opened.model, Decoder)
    with pytest.raises(ConfigError, match=r"engine kernel cannot run this: .*position learned"):
        open_engine(gpt2, engine="kernel")


def test_a_gpu_goes_to_torch():
    gpu = type(CPU)(torch.device("cuda"), torch.bfloat16)
    config = CoreConfig(vocab_size=300, width=32, layers=1, heads=2)
    name, reason = choose_engine("auto", config, gpu, "auto", adapters=False)
    assert name == "torch"
    assert "cuda" in reason.en
    assert "cuda" in reason.zh


@needs_kernel
@pytest.mark.parametrize("weights", ["auto", "float32", "int8", "int4"])
def test_weights_are_the_same_numbers_with_and_without_the_kernel(folder, file, weights):
    for place in (folder, file):
        kernel = open_engine(place, "cpu", "kernel", weights)
        plain = open_engine(place, "cpu", "torch", weights)
        found, expected = (
            one.engine.runner.forward([Chunk(0, [9, 8, 7, 30], "all")]) for one in (kernel, plain)
        )
        torch.testing.assert_close(found, expected, atol=2e-2, rtol=0)
        assert kernel.engine.runner.bytes_per_token == plain.engine.runner.bytes_per_token


def test_float32_undoes_rounding_and_int4_rounds(folder, file):
    logits = {
        name: open_engine(place, "cpu", "torch", weights).engine.runner.forward([Chunk(0, [9, 8, 7, 30])])
        for name, place, weights in (
            ("folder", folder, "auto"),
            ("plain file", file, "float32"),
            ("file", file, "auto"),
            ("int8", folder, "int8"),
            ("int4", folder, "int4"),
        )
    }
    torch.testing.assert_close(logits["plain file"], logits["folder"], atol=1e-4, rtol=0)
    for rounded in ("file", "int8", "int4"):
        assert 1e-3 < (logits[rounded] - logits["folder"]).abs().max() < 3, rounded


def test_rows_window_and_threads_are_as_asked(file):
    before = torch.get_num_threads()
    try:
        opened = open_engine(file, "cpu", max_rows=3, window=40, threads=2)
        assert (opened.engine.max_rows, opened.engine.window, torch.get_num_threads()) == (3, 40, 2)
    finally:
        torch.set_num_threads(before)


@needs_llamacpp
@pytest.mark.parametrize("weights", ["auto", "int8"])
def test_llama_cpp_runs_a_folder_through_a_file_that_goes(folder, weights, capsys):
    opened = open_engine(folder, "cpu", "llamacpp", weights)
    assert "temporary" in capsys.readouterr().err
    assert greedy(opened) == greedy(open_engine(folder, "cpu", "torch", weights))
    place = Path(opened.engine.runner.model._folder.name)
    assert place.is_dir()
    del opened
    assert not place.exists()


@needs_llamacpp
def test_llama_cpp_refuses_adapters(file):
    with pytest.raises(ConfigError, match="no adapters"):
        open_engine(file, engine="llamacpp", adapters={"a": file})


@needs_llamacpp
def test_the_cache_of_llama_cpp_grows_with_what_is_held(folder):
    runner = open_engine(folder, "cpu", "llamacpp", max_rows=8).engine.runner
    ids = [3 + k % 200 for k in range(120)]
    first = runner.forward([Chunk(0, ids[:100])]).clone()
    before = runner._room
    runner.forward([Chunk(slot, ids, "none") for slot in range(1, 12)])
    assert before < runner._room <= 16 * 128
    runner.truncate(0, 99)
    torch.testing.assert_close(runner.forward([Chunk(0, ids[99:100])]), first, atol=1e-2, rtol=0)


@pytest.mark.parametrize(
    "wrong", [{"engine": "fast"}, {"weights": "int3"}, {"device": "tpu"}], ids=lambda one: next(iter(one))
)
def test_names_that_there_are_not_are_refused(folder, wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong.values()))):
        open_engine(folder, **wrong)


@pytest.mark.parametrize(
    ("engine", "package", "install"),
    [("llamacpp", "llama_cpp", r"'hanlin\[llamacpp\]'"), ("vllm", "vllm", "vllm")],
)
def test_an_engine_that_is_not_installed_is_named_with_what_installs_it(
    file, folder, engine, package, install, monkeypatch
):
    real = builtins.__import__

    def without(name, *rest):
        if name.partition(".")[0] == package:
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, package, raising=False)
    with pytest.raises(MissingExtra, match=f"pip install {install}$"):
        open_engine(folder, engine=engine)


@pytest.mark.parametrize("name", ["max_rows", "window", "threads"])
def test_numbers_below_one_are_refused_by_name(file, name):
    with pytest.raises(ConfigError, match=f"{name} = 0"):
        open_engine(file, **{name: 0})


def test_damage_and_other_kinds_are_told_before_any_engine_opens(file, tmp_path):
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match="damaged"):
        open_engine(cut)
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "config.json").write_text(json.dumps({"model_type": "nothing"}))
    with pytest.raises(CheckpointError, match="cannot be opened"):
        open_engine(tmp_path / "encoder")
