"""What every runner promises, on the same tiny GGUF file: PyTorch, the kernel, llama.cpp (where they are installed)."""

import importlib.util
from itertools import product

import pytest
import torch
from tests.gguf_files import random_weights, save_tokenizer, small_config, write_gguf

from hanlin.base.device import Compute
from hanlin.checkpoint.folder import load_model
from hanlin.generate.open_engine import open_engine
from hanlin.generate.parameters import SamplingParameters
from hanlin.generate.runner import Chunk
from hanlin.kernel.library import available

CPU = Compute(torch.device("cpu"), torch.float32)
WINDOW = 128
ABSENT = {
    "kernel": pytest.mark.skipif(not available(), reason="the kernel is not built"),
    "llamacpp": pytest.mark.skipif(
        importlib.util.find_spec("llama_cpp") is None, reason="no llama-cpp-python"
    ),
}
RUNNERS = [pytest.param(name, marks=ABSENT.get(name, ())) for name in ("torch", "kernel", "llamacpp")]
EXACT = {"torch": 1e-4, "kernel": 1e-4, "llamacpp": 3e-2}
"""How far logits of about 10 may be off: llama.cpp keeps keys and values in float16."""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    place = tmp_path_factory.mktemp("runners")
    config = small_config(max_position_embeddings=WINDOW)
    write_gguf(
        place / "tiny.gguf", config, random_weights(config), save_tokenizer(place / "tokenizer"), "F32"
    )
    return place / "tiny.gguf"


@pytest.fixture(scope="module")
def logits_of(file):
    """The logits after every token of a text, without any cache."""
    model = load_model(file, CPU)[0]

    def logits_of(ids):
        with torch.no_grad():
            return model(torch.tensor([ids]))[0]

    return logits_of


@pytest.fixture(params=RUNNERS)
def runner(request, file):
    """With 8 slots."""
    return open_engine(file, "cpu", request.param, max_rows=4).engine.runner


def text(length, seed=0):
    return torch.randint(3, 280, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


def agree(runner, found, expected):
    assert found.shape == expected.shape
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=EXACT[runner.name], rtol=0)


def test_runner_says_what_it_is(runner):
    assert (runner.window, runner.slots, runner.vocab_size) == (WINDOW, 8, 300)
    assert runner.device == torch.device("cpu")
    assert runner.adapters is None
    assert runner.bytes_per_token in (2 * 2 * 2 * 16 * size for size in (2, 4))
    assert [runner.length(slot) for slot in range(8)] == [0] * 8


def test_logits_of_all_the_last_and_none_in_the_order_asked(runner, logits_of):
    first, second, third = text(9, 1), text(4, 2), text(6, 3)
    found = runner.forward([Chunk(5, first, "last"), Chunk(0, second, "none"), Chunk(2, third, "all")])
    agree(runner, found, torch.cat([logits_of(first)[-1:], logits_of(third)]))
    assert [runner.length(slot) for slot in (0, 2, 5, 7)] == [4, 6, 9, 0]


def test_nothing_asked_gives_no_rows(runner):
    assert runner.forward([Chunk(0, text(5), "none")]).shape == (0, 300)


def test_a_text_in_pieces_is_the_text(runner, logits_of):
    ids = text(40)
    parts = [
        runner.forward([Chunk(3, ids[a:b], "all")]).clone() for a, b in ((0, 1), (1, 2), (2, 39), (39, 40))
    ]
    agree(runner, torch.cat(parts), logits_of(ids))


def test_texts_go_on_side_by_side(runner, logits_of):
    texts = [text(6 + slot, slot) for slot in range(8)]
    runner.forward([Chunk(slot, ids[:-2], "none") for slot, ids in enumerate(texts)])
    for place in (-2, -1):
        found = runner.forward([Chunk(slot, [texts[slot][place]]) for slot in (4, 0, 7, 1, 2, 3, 6, 5)])
        expected = [logits_of(texts[slot])[place] for slot in (4, 0, 7, 1, 2, 3, 6, 5)]
        agree(runner, found, torch.stack(expected))


def test_neighbours_change_nothing(runner):
    ids = text(20)
    alone = runner.forward([Chunk(0, ids)]).clone()
    beside = runner.forward([Chunk(1, text(33, 5), "all"), Chunk(2, ids)])[-1:]
    torch.testing.assert_close(beside, alone, atol=0 if runner.name == "kernel" else 2e-4, rtol=0)


def test_truncated_text_goes_on_from_there(runner, logits_of):
    ids, other = text(20), text(7, 9)
    runner.forward([Chunk(1, ids), Chunk(2, ids)])
    runner.truncate(1, 12)
    assert (runner.length(1), runner.length(2)) == (12, 20)
    agree(runner, runner.forward([Chunk(1, other, "all")]), logits_of(ids[:12] + other)[12:])
    runner.truncate(1, 0)
    agree(runner, runner.forward([Chunk(1, other, "all")]), logits_of(other))


@pytest.mark.parametrize("length", [0, 1, 13, 20])
def test_a_copied_beginning_is_a_text_of_its_own(runner, logits_of, length):
    ids, other = text(20), text(5, 9)
    runner.forward([Chunk(0, ids), Chunk(6, text(30, 4))])
    runner.copy(0, 6, length)
    assert (runner.length(0), runner.length(6)) == (20, length)
    agree(runner, runner.forward([Chunk(6, other, "all")]), logits_of(ids[:length] + other)[length:])
    runner.truncate(0, 0)
    runner.forward([Chunk(0, text(30, 8), "none")])  # what the source holds now must not show in the copy
    agree(runner, runner.forward([Chunk(6, other[:1])]), logits_of(ids[:length] + other + other[:1])[-1:])


def test_a_copy_onto_itself_is_a_truncation(runner, logits_of):
    ids = text(10)
    runner.forward([Chunk(0, ids)])
    runner.copy(0, 0, 4)
    agree(runner, runner.forward([Chunk(0, ids[4:])]), logits_of(ids)[-1:])


def test_all_slots_can_be_full(runner, logits_of):
    texts = [text(WINDOW, slot) for slot in range(8)]
    for slot, ids in enumerate(texts):
        runner.forward([Chunk(slot, ids[: -1 - slot], "none")])
    found = runner.forward([Chunk(slot, ids[-1 - slot :]) for slot, ids in enumerate(texts)])
    agree(runner, found, torch.stack([logits_of(ids)[-1] for ids in texts]))


def test_another_shares_weights_and_not_texts(runner, logits_of):
    ids = text(10)
    runner.forward([Chunk(0, ids)])
    other = runner.another(3)
    assert (other.slots, other.length(0), other.window) == (3, 0, runner.window)
    agree(other, other.forward([Chunk(0, ids[3:])]), logits_of(ids[3:])[-1:])
    assert runner.length(0) == 10
    del runner
    agree(other, other.forward([Chunk(0, ids[:1])]), logits_of(ids[3:] + ids[:1])[-1:])


@pytest.mark.parametrize("name", RUNNERS)
def test_texts_are_those_of_torch(file, name):
    texts = []
    for engine, sampling in product(("torch", name), ({"temperature": 0.0}, {"seed": 3, "top_k": 5})):
        opened = open_engine(file, "cpu", engine, max_rows=3)
        parameters = SamplingParameters(max_new_tokens=12).changed(sampling)
        asked = [opened.engine.submit(text(5 + 3 * k, k), parameters) for k in range(5)]
        while opened.engine.busy:
            opened.engine.step()
        texts.append([one.token_ids for one in asked])
    assert texts[:2] == texts[2:]
    assert texts[0] != texts[1]
