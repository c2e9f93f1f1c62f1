"""Nothing that the engine does for speed or memory changes a text, and it does what it is meant to do."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hanlin.base.device import Compute
from hanlin.base.errors import RequestError
from hanlin.generate.engine import Engine
from hanlin.generate.generation import Generation
from hanlin.generate.kernel_runner import KernelRunner
from hanlin.generate.parameters import SamplingParameters
from hanlin.generate.proposals import PromptLookup
from hanlin.generate.runner import Chunk, Runner
from hanlin.generate.torch_runner import TorchRunner
from hanlin.model.decoder import Decoder
from hanlin.tokenizer.tokenizer import Tokenizer

GREEDY = SamplingParameters(temperature=0, max_new_tokens=12)
DRAWN = SamplingParameters(temperature=1.1, top_p=0.9, repetition_penalty=1.2, seed=5, max_new_tokens=12)
SYSTEM = [20 + n % 7 for n in range(24)]
PROMPTS = [
    [*SYSTEM, 30, 31, 32],
    [*SYSTEM, 30, 33],
    [*SYSTEM],
    [5, 6, 7],
    [40 + n % 3 for n in range(40)],
    [9],
]


class Counting(TorchRunner):
    """Also notes what was computed."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.calls: list[list[Chunk]] = []

    def forward(self, chunks: list[Chunk]) -> torch.Tensor:  # type: ignore[override]
        self.calls.append(list(chunks))
        return super().forward(chunks)

    @property
    def computed(self) -> int:
        """Tokens so far."""
        return sum(len(chunk.ids) for chunks in self.calls for chunk in chunks)


@pytest.fixture
def runner(model: Decoder, compute: Compute) -> Counting:
    return Counting(model, compute, 4)


def run(engine: Engine, *generations: Generation) -> list[list[int]]:
    while engine.busy:
        engine.step()
        assert engine._slots.held <= engine.cache_tokens
        for slot in engine._slots._slots:
            assert engine.runner.length(slot.index) == slot.held <= len(slot.ids)
    return [generation.token_ids for generation in generations]


def runner_of(kind: str, model: Decoder, compute: Compute, slots: int) -> Runner:
    if kind == "torch":
        return TorchRunner(model, compute, slots)
    if (why := KernelRunner.supports(model.config)) is not None:
        pytest.skip(why.en)
    return KernelRunner(model, slots, threads=1)


known: dict[tuple[str, int, bool], list[int]] = {}


def alone(
    kind: str, model: Decoder, tokenizer: Tokenizer, compute: Compute, number: int, greedy: bool
) -> list[int]:
    if (kind, number, greedy) not in known:
        engine = Engine(runner_of(kind, model, compute, 1), tokenizer, 1, chunk=1000)
        generation = engine.submit(PROMPTS[number], GREEDY if greedy else DRAWN)
        (known[kind, number, greedy],) = run(engine, generation)
    return known[kind, number, greedy]


@pytest.mark.parametrize("kind", ["torch", "kernel"])
@given(
    events=st.lists(
        st.one_of(
            st.tuples(st.just("submit"), st.integers(0, len(PROMPTS) - 1), st.booleans()),
            st.tuples(st.just("steps"), st.integers(1, 6), st.just(False)),
            st.tuples(st.just("cancel"), st.integers(0, 9), st.just(False)),
        ),
        min_size=3,
        max_size=20,
    ),
    rows=st.integers(1, 4),
    memory=st.integers(64, 150),
    chunk=st.sampled_from([1, 3, 8, 100]),
    looks_up=st.booleans(),
)
@settings(max_examples=20, deadline=None)
def test_schedules_change_no_text(
    model: Decoder,
    tokenizer: Tokenizer,
    compute: Compute,
    kind: str,
    events: list[tuple[str, int, bool]],
    rows: int,
    memory: int,
    chunk: int,
    looks_up: bool,
) -> None:
    proposer = PromptLookup(1) if looks_up else None
    engine = Engine(runner_of(kind, model, compute, 4), tokenizer, rows, memory, chunk, proposer)
    asked: list[tuple[Generation, int, bool]] = []
    for what, number, greedy in events:
        if what == "submit":
            parameters = GREEDY if greedy else DRAWN
            asked.append((engine.submit(PROMPTS[number], parameters), number, greedy))
        elif what == "cancel" and number < len(asked):
            engine.cancel(asked[number][0])
        elif what == "steps":
            for _ in range(number):
                engine.step()
    run(engine)
    for generation, number, greedy in asked:
        expected = alone(kind, model, tokenizer, compute, number, greedy)
        if generation.finish_reason == "cancelled":
            assert generation.token_ids == expected[: generation.new_tokens]
        else:
            assert generation.token_ids == expected


def test_a_long_prompt_never_stops_a_running_text(runner: Counting, tokenizer: Tokenizer) -> None:
    engine = Engine(runner, tokenizer, chunk=4)
    first = engine.submit(PROMPTS[5], GREEDY)
    engine.step()
    second = engine.submit(PROMPTS[4], GREEDY)
    for step in range(10):
        engine.step()
        assert first.new_tokens == 2 + step
        assert second.new_tokens == (1 if step == 9 else 0)
        assert sorted(len(chunk.ids) for chunk in runner.calls[-1]) == [1, 4]


def test_a_prompt_that_is_half_read_can_be_cancelled(runner: Counting, tokenizer: Tokenizer) -> None:
    engine = Engine(runner, tokenizer, chunk=4)
    engine.submit(PROMPTS[5], GREEDY)
    engine.step()
    other = engine.submit(PROMPTS[4], GREEDY)
    engine.step()
    engine.step()
    engine.cancel(other)
    pieces = engine.step()
    assert [piece.finish_reason for piece in pieces if piece.generation is other] == ["cancelled"]
    again = engine.submit(PROMPTS[4], GREEDY)
    run(engine)
    assert again.cached_tokens == 8  # what was read stays


def test_samples_of_one_prompt_read_it_once(runner: Counting, tokenizer: Tokenizer) -> None:
    engine = Engine(runner, tokenizer)
    samples = [engine.submit(PROMPTS[0], GREEDY) for _ in range(3)]
    engine.step()
    engine.step()
    assert runner.computed == len(PROMPTS[0]) + 1 + 2  # each reads the last token, and the first one goes on
    texts = run(engine, *samples)
    assert texts[0] == texts[1] == texts[2]
    assert [one.cached_tokens for one in samples] == [0, len(PROMPTS[0]) - 1, len(PROMPTS[0]) - 1]


def test_a_growing_conversation_is_read_once(runner: Counting, tokenizer: Tokenizer) -> None:
    engine = Engine(runner, tokenizer)
    first = engine.submit(PROMPTS[0], GREEDY)
    run(engine)
    before = runner.computed
    longer = [*PROMPTS[0], *first.token_ids, 8, 9]
    second = engine.submit(longer, GREEDY)
    run(engine)
    assert second.cached_tokens == len(longer) - 3  # the answer's last token was never needed
    assert runner.computed - before == 3 + 11


def test_a_shared_beginning_is_copied_and_its_owner_kept(runner: Counting, tokenizer: Tokenizer) -> None:
    engine = Engine(runner, tokenizer)
    one, other = engine.submit(PROMPTS[0], GREEDY), engine.submit(PROMPTS[1], GREEDY)
    run(engine)
    again = [engine.submit([*PROMPTS[n], *text.token_ids, 8], GREEDY) for n, text in enumerate((one, other))]
    run(engine)
    assert [each.cached_tokens for each in (one, other)] == [0, len(SYSTEM) + 1]
    assert [each.cached_tokens for each in again] == [len(PROMPTS[0]) + 11, len(PROMPTS[1]) + 11]


def test_idle_prefixes_go_longest_unused_first(runner: Counting, tokenizer: Tokenizer) -> None:
    engine = Engine(runner, tokenizer, cache_tokens=100)
    short = GREEDY.changed({"max_new_tokens": 1})
    prompts = [[first] * 30 for first in (50, 51, 52)]
    for prompt in prompts:
        run(engine, engine.submit(prompt, short))
    run(engine, engine.submit(prompts[0], short))  # 50 is used again; 51 is now the oldest
    run(engine, engine.submit([53] * 30, short))  # 120 would be too many: 20 of 51 go
    found = [engine.submit([*prompt, 9], short) for prompt in (prompts[0], prompts[2], [53] * 30)]
    run(engine)
    assert [one.cached_tokens for one in found] == [30, 30, 30]
    run(engine, late := engine.submit(prompts[1], short))
    assert late.cached_tokens <= 10


def test_the_youngest_gives_way_and_goes_on(
    model: Decoder, runner: Counting, tokenizer: Tokenizer, compute: Compute
) -> None:
    engine = Engine(runner, tokenizer, cache_tokens=64)
    long = GREEDY.changed({"max_new_tokens": 24})
    asked = [engine.submit([first] * 12, long) for first in (60, 61, 62)]
    texts = run(engine, *asked)
    assert asked[0].preemptions == 0
    assert asked[2].preemptions > 0
    assert [one.finish_reason for one in asked] == ["length"] * 3
    for n, first in enumerate((60, 61, 62)):
        single = Engine(TorchRunner(model, compute, 1), tokenizer, 1)
        assert run(single, single.submit([first] * 12, long)) == [texts[n]]


def test_what_fits_no_memory_is_refused(runner: Counting, tokenizer: Tokenizer) -> None:
    engine = Engine(runner, tokenizer, cache_tokens=20)
    with pytest.raises(RequestError) as caught:
        engine.submit([5] * 20, GREEDY)
    assert "cache_tokens" in caught.value.remedy.en
    assert "cache_tokens" in caught.value.remedy.zh
    generation = engine.submit([5] * 19, GREEDY)
    run(engine)
    assert (generation.new_tokens, generation.finish_reason) == (1, "length")
    assert engine.cache_bytes == 20 * runner.bytes_per_token
    assert engine.window == 20


def test_forgetting_makes_prompts_new(runner: Counting, tokenizer: Tokenizer) -> None:
    engine = Engine(runner, tokenizer)
    run(engine, engine.submit(PROMPTS[0], GREEDY))
    engine.forget()
    run(engine, again := engine.submit(PROMPTS[0], GREEDY))
    assert again.cached_tokens == 0
