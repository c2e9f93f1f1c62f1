"""The engine: cached equals uncached, neighbours change nothing, requests come and go, limits hold."""

import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hanlin.base.device import Compute
from hanlin.base.errors import CheckpointError, RequestError
from hanlin.generate.engine import Engine
from hanlin.generate.generation import Generation, Piece
from hanlin.generate.parameters import SamplingParameters
from hanlin.generate.torch_runner import TorchRunner
from hanlin.model.cache import KeyValueCache
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from hanlin.tokenizer.tokenizer import Tokenizer

PROMPTS = [
    "The scholars",
    "翰林院的学士们",
    "学",
    "read the",
    "old academy of the",
    "不亦说乎",
    "t",
    "histories\n",
]
GREEDY = SamplingParameters(temperature=0, max_new_tokens=20)
DRAWN = SamplingParameters(temperature=1.2, top_p=0.95, top_k=40, seed=3, max_new_tokens=20)


def make(model: Decoder, tokenizer: Tokenizer, compute: Compute, rows: int = 8, **settings: int) -> Engine:
    return Engine(TorchRunner(model, compute, rows), tokenizer, rows, **settings)


def run(engine: Engine) -> list[Piece]:
    pieces = []
    while engine.busy:
        pieces += engine.step()
    return pieces


def alone(
    model: Decoder, tokenizer: Tokenizer, compute: Compute, prompt: str, parameters: SamplingParameters
) -> str:
    engine = make(model, tokenizer, compute, 1)
    generation = engine.submit(tokenizer.encode(prompt), parameters)
    run(engine)
    return generation.text


def test_greedy_is_the_argmax_of_the_uncached_model(
    model: Decoder, tokenizer: Tokenizer, compute: Compute
) -> None:
    prompt = tokenizer.encode(PROMPTS[0])
    engine = make(model, tokenizer, compute)
    generation = engine.submit(prompt, GREEDY)
    run(engine)
    ids = list(prompt)
    with torch.inference_mode():
        for _ in range(20):
            ids.append(int(model(torch.tensor([ids]))[0, -1, : tokenizer.vocab_size].argmax()))
    assert generation.token_ids == ids[len(prompt) :]
    assert generation.text == tokenizer.decode(ids[len(prompt) :])
    assert (generation.finish_reason, generation.new_tokens) == ("length", 20)


def test_cached_logits_equal_uncached_ones(model: Decoder) -> None:
    tokens = torch.randint(0, model.config.vocab_size, (3, 24), generator=torch.Generator().manual_seed(1))
    cache = KeyValueCache(model.config, rows=5, capacity=model.config.window)
    with torch.inference_mode():
        whole = model(tokens)
        for row, length in enumerate([5, 9, 13]):
            model(tokens[row : row + 1, :length], cache=cache.rows(row, row + 1))
        for step in range(10):
            new = torch.stack(
                [tokens[row, length + step] for row, length in enumerate([5, 9, 13])]
            ).unsqueeze(1)
            logits = model(new, cache=cache.rows(0, 3))[:, 0]
            expected = torch.stack([whole[row, length + step] for row, length in enumerate([5, 9, 13])])
            torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("parameters", [GREEDY, DRAWN, DRAWN.changed({"repetition_penalty": 1.4})])
def test_neighbours_do_not_change_a_text(
    model: Decoder, tokenizer: Tokenizer, compute: Compute, parameters: SamplingParameters
) -> None:
    engine = make(model, tokenizer, compute, 8)
    together = [engine.submit(tokenizer.encode(prompt), parameters) for prompt in PROMPTS]
    run(engine)
    expected = [alone(model, tokenizer, compute, prompt, parameters) for prompt in PROMPTS]
    assert [generation.text for generation in together] == expected
    assert len(set(expected)) > 4


def test_rows_of_different_parameters_share_a_batch(
    model: Decoder, tokenizer: Tokenizer, compute: Compute
) -> None:
    choices = [
        GREEDY,
        DRAWN,
        DRAWN.changed({"seed": 4, "top_k": 0}),
        DRAWN.changed({"min_p": 0.2, "repetition_penalty": 1.5}),
        GREEDY.changed({"repetition_penalty": 1.5}),
        SamplingParameters(seed=9, max_new_tokens=11),
    ]
    engine = make(model, tokenizer, compute, 4)
    together = [engine.submit(tokenizer.encode(PROMPTS[0]), parameters) for parameters in choices]
    run(engine)
    assert [generation.text for generation in together] == [
        alone(model, tokenizer, compute, PROMPTS[0], parameters) for parameters in choices
    ]


@given(
    events=st.lists(
        st.one_of(
            st.tuples(st.just("submit"), st.integers(0, 7), st.integers(1, 12)),
            st.just(("step",)),
            st.tuples(st.just("cancel"), st.integers(0, 9)),
        ),
        max_size=25,
    ),
    rows=st.integers(1, 4),
)
@settings(max_examples=40, deadline=None)
def test_requests_come_and_go_at_any_step(
    model: Decoder,
    tokenizer: Tokenizer,
    compute: Compute,
    events: list[tuple[str, int, int]],
    rows: int,
) -> None:
    engine = make(model, tokenizer, compute, rows)
    submitted: list[Generation] = []
    pieces: list[Piece] = []
    for event in events:
        if event[0] == "submit":
            parameters = GREEDY.changed({"max_new_tokens": event[2]})
            submitted.append(engine.submit(tokenizer.encode(PROMPTS[event[1]]), parameters))
        elif event[0] == "cancel" and event[1] < len(submitted):
            engine.cancel(submitted[event[1]])
        elif event[0] == "step":
            pieces += engine.step()
    pieces += run(engine)
    for generation in submitted:
        mine = [piece for piece in pieces if piece.generation is generation]
        assert "".join(piece.text for piece in mine) == generation.text
        assert [id for piece in mine for id in piece.token_ids] == generation.token_ids
        assert [piece.finish_reason is not None for piece in mine].count(True) == 1
        assert mine[-1].finish_reason == generation.finish_reason
        full = alone(
            model, tokenizer, compute, tokenizer.decode(generation.prompt_ids), generation.parameters
        )
        if generation.finish_reason == "cancelled":
            assert tokenizer.decode(generation.token_ids) == generation.text
            assert full.startswith(generation.text.rstrip("\ufffd"))
        else:
            assert generation.text == full


def test_every_step_gives_each_running_request_one_token(
    model: Decoder, tokenizer: Tokenizer, compute: Compute
) -> None:
    engine = make(model, tokenizer, compute, 2)
    first = engine.submit([5], GREEDY)
    assert [piece.generation for piece in engine.step()] == [first]
    second, third = engine.submit([6], GREEDY), engine.submit([7], GREEDY)
    assert [piece.generation for piece in engine.step()] == [first, second]
    assert (first.new_tokens, second.new_tokens, third.new_tokens) == (2, 1, 0)


def test_a_free_row_is_taken_in_the_next_step(model: Decoder, tokenizer: Tokenizer, compute: Compute) -> None:
    engine = make(model, tokenizer, compute, 1)
    first = engine.submit([5], GREEDY.changed({"max_new_tokens": 2}))
    second = engine.submit([6], GREEDY)
    engine.step()
    engine.step()
    assert (first.finish_reason, second.new_tokens) == ("length", 0)
    engine.step()
    assert second.new_tokens == 1


def test_the_window_ends_a_generation(model: Decoder, tokenizer: Tokenizer, compute: Compute) -> None:
    engine = make(model, tokenizer, compute)
    window = model.config.window
    generation = engine.submit([5] * (window - 3), GREEDY)
    last = engine.submit([5] * (window - 1), GREEDY)
    run(engine)
    assert (generation.new_tokens, generation.finish_reason) == (3, "length")
    assert (last.new_tokens, last.finish_reason) == (1, "length")


def test_wrong_prompts(model: Decoder, tokenizer: Tokenizer, compute: Compute) -> None:
    engine = make(model, tokenizer, compute)
    with pytest.raises(RequestError, match="empty"):
        engine.submit([], GREEDY)
    with pytest.raises(RequestError) as caught:
        engine.submit([5] * 70, GREEDY)
    assert "70" in caught.value.problem.en
    assert "64" in caught.value.problem.en
    for id in (-1, tokenizer.vocab_size):
        with pytest.raises(RequestError, match=str(tokenizer.vocab_size)):
            engine.submit([id], GREEDY)
    assert not engine.busy


def test_stop_ids_and_stop_texts(model: Decoder, tokenizer: Tokenizer, compute: Compute) -> None:
    engine = make(model, tokenizer, compute)
    plain = engine.submit(tokenizer.encode(PROMPTS[1]), GREEDY)
    run(engine)
    stop = plain.text[4:7]
    stopped = engine.submit(tokenizer.encode(PROMPTS[1]), GREEDY.changed({"stop": [stop]}))
    pieces = run(engine)
    assert stopped.text == "".join(piece.text for piece in pieces) == plain.text[: plain.text.index(stop)]
    assert stopped.finish_reason == "stop"

    biased = Decoder(model.config)
    biased.load_state_dict(model.state_dict())
    with torch.no_grad():
        biased.head.weight.zero_()  # all logits equal: greedy takes id 0, the end of the document
    generation = (engine := make(biased, tokenizer, compute)).submit([5], GREEDY)
    run(engine)
    assert (generation.text, generation.token_ids, generation.finish_reason) == ("", [0], "stop")


def test_ids_without_a_token_are_never_drawn(model: Decoder, tokenizer: Tokenizer, compute: Compute) -> None:
    padded = Decoder(model.config)
    padded.load_state_dict(model.state_dict())
    with torch.no_grad():
        padded.head.weight.zero_()
    engine = make(padded, tokenizer, compute)
    for seed in range(8):
        engine.submit([5], SamplingParameters(seed=seed, max_new_tokens=50))
    ids = [id for piece in run(engine) for id in piece.token_ids]
    assert max(ids) < tokenizer.vocab_size < model.config.vocab_size


def test_seeds(model: Decoder, tokenizer: Tokenizer, compute: Compute) -> None:
    free = SamplingParameters(max_new_tokens=20)
    engine = make(model, tokenizer, compute)
    first, second = engine.submit([5], free), engine.submit([5], free)
    run(engine)
    assert first.seed != second.seed
    assert first.token_ids != second.token_ids
    again = engine.submit([5], free.changed({"seed": first.seed}))
    run(engine)
    assert again.token_ids == first.token_ids


def test_damaged_weights_stop_everything_and_say_so(
    model: Decoder, tokenizer: Tokenizer, compute: Compute
) -> None:
    damaged = Decoder(model.config)
    damaged.load_state_dict(model.state_dict())
    with torch.no_grad():
        damaged.head.weight.fill_(torch.nan)
    engine = make(damaged, tokenizer, compute, 1)
    generations = [engine.submit([5], GREEDY), engine.submit([6], DRAWN)]
    with pytest.raises(CheckpointError, match="finite"):
        engine.step()
    assert not engine.busy
    assert [generation.finish_reason for generation in generations] == ["cancelled"] * 2


def test_a_tokenizer_larger_than_the_model_is_refused(tokenizer: Tokenizer, compute: Compute) -> None:
    small = Decoder(CoreConfig(vocab_size=10, width=8, layers=1, heads=1, window=8))
    with pytest.raises(CheckpointError, match="10"):
        make(small, tokenizer, compute)


def test_submitting_and_cancelling_from_other_threads(
    model: Decoder, tokenizer: Tokenizer, compute: Compute
) -> None:
    engine = make(model, tokenizer, compute, 3)
    generations: list[Generation] = []

    def ask(seed: int) -> None:
        for n in range(10):
            parameters = SamplingParameters(seed=seed, max_new_tokens=4)
            generations.append(generation := engine.submit([5 + n], parameters))
            if n % 3 == 0:
                engine.cancel(generation)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    pieces: list[Piece] = []
    while any(thread.is_alive() for thread in threads) or engine.busy:
        pieces += engine.step()
    ended = [piece.generation.id for piece in pieces if piece.finish_reason is not None]
    assert sorted(ended) == sorted(generation.id for generation in generations)
    assert len(set(ended)) == 40
