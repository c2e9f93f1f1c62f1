"""The decoder in C through its Python: every instruction set, other processes, memory."""

import multiprocessing
import os
import time

import psutil
import pytest
import torch

from hanlin.generate.kernel_runner import KernelRunner
from hanlin.generate.runner import Chunk
from hanlin.kernel.build import BuildError, build
from hanlin.kernel.library import available, instructions, library
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from tiny import scatter

built = pytest.mark.skipif(not available(), reason="the kernel is not built")

CONFIG = CoreConfig(vocab_size=70, width=64, layers=2, heads=4, kv_heads=2, head_size=48, window=4096)


def decoder():
    torch.manual_seed(0)
    return scatter(Decoder(CONFIG))


def logits(runner, slot=0):
    runner.truncate(slot, 0)
    return runner.forward([Chunk(slot, [id % 70 for id in range(150)], "all")]).clone()


@built
@pytest.mark.parametrize("kind", ["generic", "avx2", "avx512-vnni", "neon"])
@pytest.mark.parametrize("weights", ["float32", "int8"])
def test_every_instruction_set_of_this_machine_gives_nearly_the_same(kind, weights):
    best, runner = instructions(), KernelRunner(decoder(), slots=1, weights=weights)
    expected = logits(runner)
    try:
        if not library().use(kind.encode()):
            pytest.skip(f"this machine has no {kind}")
        found = logits(runner)
    finally:
        library().use(best.encode())
    close = 1e-4 if weights == "float32" else 0.2  # a rounding that goes the other way moves all that follow
    assert (found - expected).abs().max() < close


def _in_a_child(runner, expected, answers):
    answers.put(torch.equal(logits(runner, slot=1), expected))


@built
def test_a_child_process_computes_with_threads_of_its_own():
    runner = KernelRunner(decoder(), slots=2, threads=3)
    expected = logits(runner)
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=_in_a_child, args=(runner, expected, answers))
    child.start()
    assert answers.get(timeout=60)
    child.join()
    assert torch.equal(logits(runner), expected)


@built
def test_memory_is_taken_when_tokens_come_and_given_back_when_they_go():
    process = psutil.Process(os.getpid())
    runner = KernelRunner(decoder(), slots=1000, threads=1)
    reserved = runner.slots * runner.window * runner.bytes_per_token
    before = process.memory_info().rss
    for slot in range(8):
        runner.forward([Chunk(slot, [1] * 4096, "none")])
    filled = process.memory_info().rss - before
    held = 8 * 4096 * runner.bytes_per_token
    for slot in range(8):
        runner.truncate(slot, 0)
    left = process.memory_info().rss - before
    assert 0.9 * held < filled < held + 40e6 < reserved / 10
    assert left < filled - 0.9 * held


@built
def test_threads_that_have_nothing_to_do_sleep():
    runner = KernelRunner(decoder(), slots=1, threads=4)
    logits(runner)
    before = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - before < 0.1


def test_a_missing_compiler_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("CC", "no-such-compiler -O2")
    with pytest.raises(BuildError, match="no C compiler: no-such-compiler"):
        build(target=tmp_path / "kernel.so")
    assert not list(tmp_path.iterdir())
