"""Whatever mixture of chunks comes in whatever slots: the logits are those of a fresh pass over each whole text."""

import random
import shutil

import pytest
import torch

from hanlin.base.device import Compute
from hanlin.generate import torch_runner
from hanlin.generate.runner import Chunk
from hanlin.generate.torch_runner import TorchRunner
from hanlin.model import text_cache
from hanlin.model.adapters.adapters import Adapters
from hanlin.model.adapters.config import LoraConfig, PrefixConfig
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from hanlin.model.text_cache import TextCache
from tiny import CPU, close, scatter

SHAPE = {"vocab_size": 40, "width": 16, "layers": 3, "heads": 4, "ffn_width": 24, "window": 48}
FAMILIES = {
    "llama": {"kv_heads": 2},
    "qwen3": {"kv_heads": 2, "qkv_bias": True, "qk_norm": True, "position_pairs": "neighbours"},
    "gpt2": {"style": "gpt2"},
    "gemma": {
        "kv_heads": 1,
        "attention": ("sliding", "full"),
        "attention_window": 5,
        "attention_softcap": 4.0,
        "logit_softcap": 6.0,
        "rope_theta_local": 100.0,
        "norm_placement": "sandwich",
        "norm_unit_offset": True,
        "tied": True,
    },
    "mixtral": {"experts": 4, "experts_per_token": 2, "attention": ("sliding",), "attention_window": 7},
    "sinusoidal": {"style": "transformer", "assembly": "decoder", "head": "lm"},
    "alibi": {"position": "alibi", "attention": ("full", "sliding"), "attention_window": 4},
    "relative": {"position": "relative", "relative_buckets": 8, "relative_max_distance": 16},
    "sparse": {"attention": ("block", "global"), "attention_window": 6, "global_tokens": 2},
}


def decoder(family: str) -> Decoder:
    torch.manual_seed(0)
    return scatter(Decoder(CoreConfig.model_validate({**SHAPE, **FAMILIES[family]})))


def fresh(model: Decoder, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.tensor([ids]))[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_any_mixture_is_a_fresh_pass_over_each_text(family, monkeypatch):
    monkeypatch.setattr(text_cache, "FEWEST", 4)  # so that memory grows and shrinks all the time
    model, draw = decoder(family), random.Random(family)
    runner = TorchRunner(model, CPU, slots=4)
    texts: list[list[int]] = [[] for _ in range(4)]
    for _ in range(30):
        slot, other = draw.sample(range(4), 2)
        match draw.choice(("forward", "forward", "forward", "truncate", "copy")):
            case "truncate":
                length = draw.randint(0, len(texts[slot]))
                runner.truncate(slot, length)
                texts[slot] = texts[slot][:length]
            case "copy":
                length = draw.randint(0, len(texts[slot]))
                runner.copy(slot, other, length)
                texts[other] = texts[slot][:length]
            case "forward":
                chunks, expected = [], []
                for number in draw.sample(range(4), draw.randint(1, 4)):
                    room = model.config.window - len(texts[number])
                    if not room:
                        continue
                    ids = [draw.randrange(40) for _ in range(min(room, draw.choice((1, 1, 2, 9))))]
                    texts[number] += ids
                    chunks.append(Chunk(number, ids, draw.choice(("none", "last", "all"))))
                    expected.append(fresh(model, texts[number])[len(texts[number]) - chunks[-1].asked :])
                if chunks:
                    close(runner.forward(chunks), torch.cat(expected))
        assert [runner.length(number) for number in range(4)] == [len(ids) for ids in texts]


def test_memory_follows_the_texts():
    model = decoder("llama")
    cache = TextCache(model.config, most=300)
    assert cache.nbytes == 0
    for length, capacity in ((1, 64), (64, 64), (65, 128), (200, 256), (257, 300)):
        cache.reserve(length)
        assert cache.capacity == capacity
    cache.length = 257
    cache.truncate(100)
    assert cache.capacity == 300, "little is free: it stays"
    cache.truncate(75)
    assert cache.capacity == 150
    cache.truncate(0)
    assert cache.nbytes == 0


def test_a_runner_takes_memory_for_what_it_holds():
    model = decoder("llama")
    runner = TorchRunner(model, CPU, slots=1000, window=40)
    assert runner.cache_bytes == 0
    runner.forward([Chunk(7, [1, 2, 3]), Chunk(900, [4])])
    assert runner.cache_bytes == 2 * 40 * runner.bytes_per_token
    runner.copy(7, 8, 2)
    runner.truncate(7, 0)
    assert runner.cache_bytes == 3 * 40 * runner.bytes_per_token, "less than 64 tokens are not worth a change"
    close(runner.forward([Chunk(8, [5])]), fresh(model, [1, 2, 5])[-1:])


def test_a_slot_copied_onto_itself_is_cut():
    runner, model = TorchRunner(decoder("llama"), CPU), decoder("llama")
    runner.forward([Chunk(0, [1, 2, 3])])
    runner.copy(0, 0, 2)
    close(runner.forward([Chunk(0, [9])]), fresh(model, [1, 2, 9])[-1:])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_cache_in_half_precision_is_near_and_half_as_large(dtype):
    model = decoder("llama")
    runner = TorchRunner(model, CPU, cache_dtype=dtype)
    runner.forward([Chunk(3, [1, 2, 3, 4])])
    logits = runner.forward([Chunk(3, [5, 6], "all")])
    assert logits.dtype == torch.float32
    expected = fresh(model, [1, 2, 3, 4, 5, 6])[-2:]
    torch.testing.assert_close(logits, expected, atol=0.05, rtol=0)
    assert not torch.equal(logits, expected), "keys and values were rounded"
    assert 2 * runner.bytes_per_token == TorchRunner(model, CPU).bytes_per_token


def test_bfloat16_products_keep_their_keys_in_bfloat16():
    model, compute = decoder("llama"), Compute(torch.device("cpu"), torch.bfloat16)
    runner = TorchRunner(model, compute)
    assert runner.dtype == torch.bfloat16
    runner.forward([Chunk(0, [1, 2]), Chunk(1, [3])])
    torch.testing.assert_close(
        runner.forward([Chunk(1, [4]), Chunk(0, [3])])[1], fresh(model, [1, 2, 3])[-1], atol=0.3, rtol=0
    )


def test_each_chunk_goes_through_its_adapter():
    model = decoder("llama")
    adapters = Adapters(model)
    torch.manual_seed(1)
    adapters.add("lora", LoraConfig(rank=2))
    adapters.add("prefix", PrefixConfig(length=3))
    for change in adapters.changes("lora").values():
        torch.nn.init.normal_(change.up_OR)
    runner = TorchRunner(model, CPU, adapters=adapters)
    names = {0: "lora", 1: None, 2: "prefix", 3: "lora"}
    texts = {0: [1, 2, 3], 1: [1, 2, 3], 2: [1, 2, 3], 3: [7]}
    runner.forward([Chunk(slot, ids[:-1], "none", names[slot]) for slot, ids in texts.items() if ids[:-1]])
    logits = runner.forward([Chunk(slot, ids[-1:], adapter=names[slot]) for slot, ids in texts.items()])
    for row, (slot, ids) in enumerate(texts.items()):
        with adapters.rows([names[slot]]):
            close(logits[row], fresh(model, ids)[-1])
    assert not torch.allclose(logits[0], logits[1])
    assert runner.length(2) == 3 + 3, "a prefix takes positions"


@pytest.mark.skipif(shutil.which("g++") is None, reason="no compiler")
@pytest.mark.parametrize("family", ["gemma"])
def test_compiled_steps_say_the_same(family):
    model = decoder(family)
    plain, compiled = TorchRunner(model, CPU), TorchRunner(model, CPU, compiled=True)
    assert compiled._steps != plain._steps, "it was compiled"
    texts = []
    for runner in (plain, compiled):
        logits = [runner.forward([Chunk(0, [1, 2, 3])])]
        for _ in range(12):
            logits.append(runner.forward([Chunk(0, [int(logits[-1].argmax())])]).clone())
        logits.append(runner.forward([Chunk(0, [5]), Chunk(1, [6])]))
        texts.append(torch.cat(logits))
    close(*texts)
    assert torch.equal(texts[0].argmax(-1), texts[1].argmax(-1))


def test_without_a_compiler_steps_are_plain_and_it_is_told(monkeypatch, capsys):
    def broken():
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(torch_runner, "compiled_steps", broken)
    model = decoder("llama")
    runner = TorchRunner(model, CPU, compiled=True)
    assert "no compiler here" in capsys.readouterr().err
    close(runner.forward([Chunk(0, [1, 2])]), fresh(model, [1, 2])[-1:])
