"""Penalties, biases and bans, kept up with a growing text, against their plain definitions."""

import importlib.util
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hanlin.base.errors import RequestError
from hanlin.generate.bans import token_pieces
from hanlin.generate.controls import Controls
from hanlin.generate.language_model import LanguageModel
from hanlin.generate.parameters import SamplingParameters
from hanlin.tokenizer.tokenizer import Tokenizer


def controls(tokenizer: Tokenizer, prompt: list[int], **asked: Any) -> Controls:
    made = Controls.of(SamplingParameters().changed(asked), prompt, tokenizer)
    assert made is not None
    return made


def changed(made: Controls, logits_V: Tensor, text: list[int]) -> Tensor:
    logits_V = logits_V.clone()
    made.apply(logits_V, text)
    return logits_V


def test_nothing_asked_is_nothing_done(tokenizer: Tokenizer) -> None:
    plain = SamplingParameters(temperature=0.3, top_k=3, stop=("a",), stop_ids=(5,), log_probabilities=2)
    assert Controls.of(plain, [1, 2], tokenizer) is None
    if importlib.util.find_spec("llguidance") is not None:
        assert Controls.of(SamplingParameters(json_schema={}), [1, 2], tokenizer) is not None


def test_the_changes_and_their_order(tokenizer: Tokenizer) -> None:
    """Repetition sees prompt and text, the others only the text; a bias comes last."""
    logits = torch.zeros(tokenizer.vocab_size)
    logits[[10, 11, 12, 13]] = torch.tensor([2.0, -2.0, 2.0, 2.0])
    made = controls(
        tokenizer,
        [10, 11],
        repetition_penalty=2.0,
        frequency_penalty=0.5,
        presence_penalty=0.25,
        logit_bias={12: 7, 14: -3},
    )
    expected = logits.clone()
    expected[[10, 11, 12, 14]] = torch.tensor([1.0, -4.0, 9.0, -3.0])
    assert torch.equal(changed(made, logits, []), expected)
    expected[[12, 13]] = torch.tensor([1.0 - 1.0 - 0.25 + 7, 1.0 - 0.5 - 0.25])
    assert torch.equal(changed(made, logits, [12, 13, 12]), expected)


@given(
    prompt=st.lists(st.integers(10, 90), max_size=5),
    text=st.lists(st.integers(10, 90), max_size=200),
    steps=st.integers(1, 9),
)
@settings(max_examples=30, deadline=None)
def test_following_a_text_is_the_same_as_reading_it_at_once(
    tokenizer: Tokenizer, prompt: list[int], text: list[int], steps: int
) -> None:
    """In whatever steps; and the penalties are those of their formulas."""
    asked = {"repetition_penalty": 1.3, "frequency_penalty": 0.7, "presence_penalty": -0.4}
    logits = torch.randn(tokenizer.vocab_size, generator=torch.Generator().manual_seed(1))
    grown = controls(tokenizer, prompt, **asked)
    for end in range(0, len(text), steps):
        changed(grown, logits, text[:end])
    result = changed(grown, logits, text)
    assert torch.equal(result, changed(controls(tokenizer, prompt, **asked), logits, text))
    for id in {*prompt, *text, 5}:
        value = float(logits[id])
        if id in (*prompt, *text):
            value = value / 1.3 if value > 0 else value * 1.3
        value -= 0.7 * text.count(id) - 0.4 * (id in text)
        assert float(result[id]) == pytest.approx(value, abs=1e-5)


@given(ids=st.lists(st.integers(10, 13), max_size=30), n=st.integers(1, 4), cut=st.integers(0, 30))
@settings(max_examples=100, deadline=None)
def test_no_ngram_comes_twice(tokenizer: Tokenizer, ids: list[int], n: int, cut: int) -> None:
    prompt, text = ids[:cut], ids[cut:]
    result = changed(controls(tokenizer, prompt, no_repeat_ngram=n), torch.zeros(tokenizer.vocab_size), text)
    seen = {tuple(ids[at : at + n]) for at in range(len(ids) - n + 1)}
    last = tuple(ids[len(ids) - n + 1 :]) if n > 1 else ()
    for id in range(tokenizer.vocab_size):
        repeats = len(last) == n - 1 and (*last, id) in seen
        assert (float(result[id]) == -torch.inf) == repeats


BAD = ["academy", "学而", "e o", "ss"]


@given(seed=st.integers(0, 10_000), length=st.integers(0, 12))
@settings(max_examples=60, deadline=None)
def test_a_ban_is_of_the_tokens_that_would_complete_a_bad_text(
    tokenizer: Tokenizer, seed: int, length: int
) -> None:
    """However it is cut: the text so far is random pieces of the bad ones."""
    random = torch.Generator().manual_seed(seed)
    pieces = token_pieces(tokenizer)
    useful = [id for id, piece in enumerate(pieces) if piece and any(piece in bad.encode() for bad in BAD)]
    made = controls(tokenizer, [], bad_words=BAD)
    text: list[int] = []
    for _ in range(length):
        row = changed(made, torch.zeros(tokenizer.vocab_size), text)
        free = [id for id in useful if float(row[id]) == 0]
        text.append(free[int(torch.randint(len(free), (), generator=random))])
    so_far = b"".join(pieces[id] for id in text)
    assert not any(bad.encode() in so_far for bad in BAD)
    row = changed(made, torch.zeros(tokenizer.vocab_size), text)
    for id, piece in enumerate(pieces):
        completes = any(bad.encode() in so_far + piece for bad in BAD)
        assert (float(row[id]) == -torch.inf) == completes


def test_no_end_before_the_least_length(tokenizer: Tokenizer) -> None:
    made = controls(tokenizer, [10], min_new_tokens=2, stop_ids=[33])
    ends = [*tokenizer.stop_ids, 33]
    zeros = torch.zeros(tokenizer.vocab_size)
    for text, banned in (([], True), ([40], True), ([40, 41], False)):
        row = changed(made, zeros, text)
        assert bool((row[ends] == -torch.inf).all()) == banned
        assert int((row == -torch.inf).sum()) == banned * len(ends)


def test_bans_give_way_where_they_leave_no_token(tokenizer: Tokenizer) -> None:
    """A repetition is better than no text at all."""
    every = list(range(tokenizer.vocab_size))
    made = controls(tokenizer, every, no_repeat_ngram=1)
    assert torch.equal(changed(made, torch.ones(len(every)), []), torch.ones(len(every)))


def test_a_constraint_is_stronger_than_bans(tokenizer: Tokenizer) -> None:
    pytest.importorskip("llguidance")
    made = controls(tokenizer, [], regex="ab|cd", bad_words=["ab", "c"])
    row = changed(made, torch.zeros(tokenizer.vocab_size), [])
    permitted = {token_pieces(tokenizer)[id] for id in row.isfinite().nonzero().flatten().tolist()}
    assert permitted == {b"a"}
    (a,) = tokenizer.encode("a")
    row = changed(made, torch.zeros(tokenizer.vocab_size), [a])
    permitted = {token_pieces(tokenizer)[id] for id in row.isfinite().nonzero().flatten().tolist()}
    assert permitted == {b"b"}


def test_biases_of_texts(tokenizer: Tokenizer) -> None:
    (one,) = tokenizer.encode("a")
    row = changed(controls(tokenizer, [], logit_bias={"a": 5, 3: -1}), torch.zeros(tokenizer.vocab_size), [])
    assert (float(row[one]), float(row[3]), float(row.sum())) == (5, -1, 4)
    with pytest.raises(RequestError, match=r"is \d+ tokens .*not one"):
        controls(tokenizer, [], logit_bias={"学而时习之，不亦说乎": 1})
    for id in (-1, tokenizer.vocab_size):
        with pytest.raises(RequestError, match=f"names the token {id}; ids go from 0"):
            controls(tokenizer, [], logit_bias={id: 1})
        with pytest.raises(RequestError, match=f"stop_ids names the token {id}; ids go from 0"):
            Controls.of(SamplingParameters(stop_ids=(id,)), [], tokenizer)


def test_through_the_engine(language_model: LanguageModel) -> None:
    """One text with everything at once: its tokens keep to all that was asked."""
    text = language_model.generate(
        "read", temperature=0.8, seed=3, max_new_tokens=50, bad_words=["e", "学"], no_repeat_ngram=2
    ).text
    assert "e" not in text
    assert "学" not in text
    ids = language_model.tokenizer.encode("read")
    forced = language_model.generate("read", logit_bias={ids[-1]: 100}, max_new_tokens=4, temperature=0)
    assert forced.text == language_model.tokenizer.decode([ids[-1]]) * 4
    ended = language_model.generate(
        "read", logit_bias={ids[-1]: 100}, max_new_tokens=4, temperature=0, stop_ids=[ids[-1]]
    )
    assert (ended.text, ended.finish_reason, ended.new_tokens) == ("", "stop", 1)
    late = language_model.generate(
        "read",
        logit_bias={ids[-1]: 100},
        max_new_tokens=4,
        min_new_tokens=2,
        temperature=0,
        stop_ids=[ids[-1]],
    )
    assert (late.new_tokens, late.finish_reason) == (3, "stop")
