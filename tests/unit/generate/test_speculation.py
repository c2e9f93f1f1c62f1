"""Guesses ahead change how fast a text comes, and nothing about the text."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hanlin.base.device import Compute
from hanlin.base.errors import ConfigError
from hanlin.generate.draft import DraftModel
from hanlin.generate.engine import Engine
from hanlin.generate.parameters import SamplingParameters
from hanlin.generate.proposals import PromptLookup, Proposer, SuffixAutomaton, Wanted
from hanlin.generate.torch_runner import TorchRunner
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from hanlin.tokenizer.bpe import save_trained, train_bpe
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.tokenizer import Tokenizer

PROMPT = [30, 31, 32, 33, 34, 30, 31, 32, 33, 34, 30, 31]


@given(st.lists(st.integers(0, 3), max_size=40))
@settings(max_examples=200, deadline=None)
def test_the_longest_repeated_end_is_found(text: list[int]) -> None:
    automaton = SuffixAutomaton()
    for stop, id in enumerate(text, start=1):
        automaton.extend(id)
        read = text[:stop]
        expected = next(
            (size for size in range(stop - 1, 0, -1) if any(
                read[at : at + size] == read[stop - size :] for at in range(stop - size)
            )), 0
        )  # fmt: skip
        length, end = automaton.repeated()
        assert length == expected
        assert read[end - length : end] == read[stop - length :]
        assert end < stop or not length


def test_lookup_proposes_what_followed() -> None:
    ids = [1, 2, 3, 4, 5, 9, 1, 2, 3]
    lookup = PromptLookup()
    assert lookup.propose([Wanted(0, ids, 3)]) == [[4, 5, 9]]
    ids += [4, 5]
    assert lookup.propose([Wanted(0, ids, 2), Wanted(1, [7, 8, 7], 2)]) == [[9, 1], ()]
    assert lookup.propose([Wanted(0, [1, 2, 3], 4)]) == [()]  # another text in the same slot


def other(model: Decoder) -> Decoder:
    """A draft model that is sometimes right."""
    draft = Decoder(model.config)
    draft.load_state_dict(model.state_dict())
    torch.manual_seed(3)
    with torch.no_grad():
        draft.head.weight.add_(torch.randn_like(draft.head.weight) * 0.1)
    return draft.eval()


@pytest.fixture
def proposers(model: Decoder, tokenizer: Tokenizer, compute: Compute) -> list[Proposer]:
    runner = TorchRunner(model, compute, 4)
    drafts = [
        DraftModel(TorchRunner(one, compute, 4), tokenizer, runner, tokenizer)
        for one in (model, other(model))
    ]
    return [PromptLookup(1), *drafts]


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_texts_are_the_same(
    model: Decoder, tokenizer: Tokenizer, compute: Compute, proposers: list[Proposer], seed: int | None
) -> None:
    asked = SamplingParameters(max_new_tokens=30, temperature=0.6, repetition_penalty=1.1, seed=seed)
    if seed is None:
        asked = SamplingParameters(max_new_tokens=30, temperature=0)
    prompts = [PROMPT, [5, 6, 7], PROMPT[3:]]
    found, accepted = [], []
    for proposer in (None, *proposers):
        engine = Engine(TorchRunner(model, compute, 4), tokenizer, 4, proposer=proposer)
        made = [engine.submit(prompt, asked) for prompt in prompts]
        steps = 0
        while engine.busy:
            steps += 1
            for piece in engine.step():
                assert len(piece.token_ids) <= piece.generation.proposed + 1
        found.append([(one.token_ids, one.text, one.finish_reason) for one in made])
        accepted.append((sum(one.accepted for one in made), sum(one.proposed for one in made), steps))
    assert all(texts == found[0] for texts in found)
    assert accepted[0][:2] == (0, 0)
    assert accepted[2][0] > 0
    if seed is None:  # the model as its own draft is always right
        assert accepted[2][0] == accepted[2][1]
        assert accepted[2][2] < accepted[0][2] / 2
        assert 0 < accepted[3][0] < accepted[3][1]


def test_another_engine_guesses_too(
    model: Decoder, tokenizer: Tokenizer, compute: Compute, proposers: list[Proposer]
) -> None:
    asked = SamplingParameters(max_new_tokens=20, temperature=0)
    for proposer in proposers[:2]:
        engine = Engine(TorchRunner(model, compute, 4), tokenizer, 4, proposer=proposer)
        second = engine.another(1)
        made = [one.submit([*PROMPT, *PROMPT], asked) for one in (engine, second)]
        while engine.busy or second.busy:
            engine.step()
            second.step()
        assert made[0].token_ids == made[1].token_ids
        assert made[0].proposed == made[1].proposed > 0


def test_stops_inside_accepted_guesses(model: Decoder, tokenizer: Tokenizer, compute: Compute) -> None:
    runner = TorchRunner(model, compute, 2)
    draft = DraftModel(TorchRunner(model, compute, 2), tokenizer, runner, tokenizer)
    plain = Engine(TorchRunner(model, compute, 2), tokenizer)
    asked = SamplingParameters(max_new_tokens=30, temperature=0)
    generation = plain.submit(PROMPT, asked)
    while plain.busy:
        plain.step()
    stop = generation.text[6:9]
    texts = []
    for engine in (plain, Engine(runner, tokenizer, proposer=draft)):
        one = engine.submit(PROMPT, asked.changed({"stop": stop}))
        while engine.busy:
            engine.step()
        texts.append((one.token_ids, one.text, one.finish_reason))
        longer = engine.submit([*PROMPT, *one.token_ids, 7], asked)  # what is kept is what was written
        while engine.busy:
            engine.step()
        texts[-1] += (longer.token_ids,)
        assert longer.cached_tokens > len(PROMPT)
    assert texts[0] == texts[1]
    assert texts[0][2] == "stop"


def test_sampled_text_follows_the_models_distribution(
    model: Decoder, tokenizer: Tokenizer, compute: Compute
) -> None:
    """Pearson's chi-square test of two tokens together, with a draft that is often wrong, at fixed seeds."""
    draft = DraftModel(
        TorchRunner(other(model), compute, 8), tokenizer, runner := TorchRunner(model, compute, 8), tokenizer
    )
    engine = Engine(runner, tokenizer, 8, proposer=draft)
    asked = SamplingParameters(max_new_tokens=3, temperature=0.7, top_k=3)
    made = [engine.submit(PROMPT, asked.changed({"seed": seed})) for seed in range(250)]
    while engine.busy:
        engine.step()
    assert 0 < sum(one.accepted for one in made) < sum(one.proposed for one in made)

    def next_probabilities(ids: list[int]) -> dict[int, float]:
        with torch.inference_mode():
            logits = model(torch.tensor([ids]))[0, -1, : tokenizer.vocab_size].double() / 0.7
        values, best = logits.topk(3)
        return dict(zip(best.tolist(), values.softmax(-1).tolist(), strict=True))

    statistic = freedom = 0.0
    for place in (1, 2):  # the second and third tokens, given those before them
        for before in {tuple(one.token_ids[:place]) for one in made}:
            here = [one.token_ids[place] for one in made if tuple(one.token_ids[:place]) == before]
            expected = next_probabilities([*PROMPT, *before])
            assert set(here) <= set(expected)
            if min(expected.values()) * len(here) < 5:
                continue
            for id, p in expected.items():
                statistic += (here.count(id) - p * len(here)) ** 2 / (p * len(here))
            freedom += 2
    assert freedom >= 8
    assert statistic < freedom * (1 - 2 / (9 * freedom) + 3.09 * (2 / (9 * freedom)) ** 0.5) ** 3


def test_a_draft_with_other_tokens_is_refused(
    model: Decoder, tokenizer: Tokenizer, compute: Compute, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("other")
    save_trained(train_bpe(["quite another text"] * 4, TokenizerConfig(vocab_size=270)), folder)
    small = Tokenizer.load(folder)
    draft = Decoder(CoreConfig(vocab_size=small.vocab_size, width=8, layers=1, heads=1, window=64))
    with pytest.raises(ConfigError, match="draft"):
        DraftModel(TorchRunner(draft, compute), small, TorchRunner(model, compute), tokenizer)


def test_a_draft_with_a_short_window_and_long_prompts(
    model: Decoder, tokenizer: Tokenizer, compute: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hanlin.generate.draft.READ", 5)
    runner = TorchRunner(model, compute, 2)
    draft = DraftModel(TorchRunner(model, compute, 2, window=30), tokenizer, runner, tokenizer)
    asked = SamplingParameters(max_new_tokens=30, temperature=0)
    prompt = [random.Random(n).randrange(20, 250) for n in range(17)]
    texts = []
    for engine in (
        Engine(TorchRunner(model, compute, 1), tokenizer),
        Engine(runner, tokenizer, proposer=draft),
    ):
        one = engine.submit(prompt, asked)
        while engine.busy:
            engine.step()
        texts.append(one.token_ids)
    assert texts[0] == texts[1]
    assert (
        0 < one.accepted == one.proposed < 20
    )  # nothing is guessed before the prompt is read or past the window
