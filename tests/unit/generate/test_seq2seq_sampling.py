"""Texts of encoder-decoders drawn at random, and the scores of given ones."""

import math

import numpy as np
import pytest
import torch

from finetuning import tiny
from hanlin.base.errors import RequestError
from hanlin.generate.beam import BeamConfig
from hanlin.generate.parameters import SamplingParameters
from hanlin.generate.seq2seq import draw_targets, score_targets, write_targets
from tiny import CPU

SOURCES = [
    torch.randint(3, 200, (length,), generator=torch.Generator().manual_seed(length)).tolist()
    for length in (7, 3, 9, 9, 1)
]


@pytest.fixture(scope="module")
def model(tokenizer):
    """Texts of 32 tokens at most, which end early and late."""
    model = tiny("transformer", seed=3, vocab_size=tokenizer.vocab_size, head_bias=True)
    with torch.no_grad():
        model.head.bias[list(tokenizer.stop_ids)] += 3.0
    return model


def drawn(model, tokenizer, sources=SOURCES, samples=1, banned=(), **parameters):
    asked = SamplingParameters(max_new_tokens=20).changed(parameters)
    return draw_targets(model, sources, CPU, tokenizer, asked, samples=samples, banned=banned)


def log_probabilities(model, tokenizer, source, ids):
    """Of each token, in nats, read without a cache."""
    with torch.no_grad():
        log_p_TV = model(torch.tensor([source]), torch.tensor([[tokenizer.start_id, *ids[:-1]]]))[
            0
        ].log_softmax(1)
    return [float(log_p_TV[place, id]) for place, id in enumerate(ids)]


def test_tokens_come_as_often_as_the_model_and_the_filters_say(model, tokenizer):
    """Of 3000 draws of one token, against its probability: 4 standard deviations."""
    count, source = 3000, SOURCES[0]
    for given in ({}, {"temperature": 0.7, "top_k": 6}):
        (texts,) = drawn(model, tokenizer, [source], samples=count, max_new_tokens=1, seed=5, **given)
        with torch.no_grad():
            logits_V = model(torch.tensor([source]), torch.tensor([[tokenizer.start_id]]))[0, 0]
        logits_V = logits_V / given.get("temperature", 1)
        if "top_k" in given:
            logits_V[logits_V < logits_V.topk(6).values[-1]] = -math.inf
        p_V = logits_V.softmax(0).double().numpy()
        times_V = np.bincount([one.token_ids[0] for one in texts], minlength=len(p_V))
        assert times_V[p_V == 0].sum() == 0
        assert (np.abs(times_V - count * p_V) <= 4 * np.sqrt(count * p_V * (1 - p_V)) + 1).all()


def test_greedy_is_a_search_with_one_beam(model, tokenizer):
    config = BeamConfig(beams=1)
    found = write_targets(
        model, SOURCES, CPU, config, start_id=tokenizer.start_id, ends=tokenizer.stop_ids, max_new_tokens=20
    )
    lengths = set()
    for source, (one,), (best,) in zip(
        SOURCES, drawn(model, tokenizer, temperature=0, log_probabilities=0), found, strict=True
    ):
        ids = one.token_ids[:-1] if one.finish_reason == "stop" else one.token_ids
        assert ids == best.ids
        assert one.text == tokenizer.decode(best.ids)
        expected = log_probabilities(model, tokenizer, source, one.token_ids)
        assert [chosen.log_probability for chosen in one.chosen] == pytest.approx(expected, abs=1e-4)
        assert best.log_probabilities == pytest.approx(expected, abs=1e-4)
        lengths.add(len(ids))
    assert len(lengths) > 1


def test_a_text_depends_on_its_seed_alone(model, tokenizer):
    """Not on the other sources, nor on how many texts of its source are drawn."""
    many = drawn(model, tokenizer, samples=3, seed=11, top_p=0.95)
    assert len({tuple(one.token_ids) for those in many for one in those}) > 10
    for source, those in zip(SOURCES, many, strict=True):
        for k, one in enumerate(those):
            ((alone,),) = drawn(model, tokenizer, [source], seed=11 + k, top_p=0.95)
            assert (alone.token_ids, alone.seed) == (one.token_ids, one.seed)


def test_what_is_forbidden_is_not_drawn(model, tokenizer):
    plain = drawn(model, tokenizer, samples=4, seed=0)
    token = plain[0][0].token_ids[0]
    banned = drawn(model, tokenizer, samples=4, seed=0, banned=[token])
    assert not any(token in one.token_ids for those in banned for one in those)
    long = drawn(model, tokenizer, samples=4, seed=0, min_new_tokens=15, no_repeat_ngram=1)
    for one in (one for those in long for one in those):
        assert one.new_tokens > 15
        assert len(set(one.token_ids)) == len(one.token_ids)


def test_a_text_is_no_longer_than_the_window(model, tokenizer):
    ((one,),) = drawn(model, tokenizer, SOURCES[:1], max_new_tokens=99, min_new_tokens=99, seed=0)
    assert (one.new_tokens, one.finish_reason) == (32, "length")


# Scores of given texts.


def test_scores_are_the_model_s_own_whatever_shares_the_batch(model, tokenizer):
    targets = [[5, 9, 2], [7], [11, 12, 13, 14, 15, 16, 17, 2], [2], [30, 31]]
    together = score_targets(model, SOURCES, targets, CPU, start_id=tokenizer.start_id)
    for source, target, scores in zip(SOURCES, targets, together, strict=True):
        assert scores.log_p == pytest.approx(log_probabilities(model, tokenizer, source, target), abs=1e-5)
        (alone,) = score_targets(model, [source], [target], CPU, start_id=tokenizer.start_id)
        assert alone.log_p == pytest.approx(scores.log_p, abs=1e-5)
        assert scores.likeliest.shape == (len(target),)


def test_scores_agree_with_the_search_and_greedy_tokens_are_the_likeliest(model, tokenizer):
    config, start = BeamConfig(beams=3, min_new_tokens=1), tokenizer.start_id
    found = write_targets(
        model, SOURCES, CPU, config, start_id=start, ends=tokenizer.stop_ids, max_new_tokens=12
    )
    best = [those[0] for those in found]
    scores = score_targets(model, SOURCES, [one.ids for one in best], CPU, start_id=start)
    for one, scored in zip(best, scores, strict=True):
        assert scored.log_p == pytest.approx(one.log_probabilities[: len(one.ids)], abs=1e-4)
    greedy = [one.token_ids for (one,) in drawn(model, tokenizer, temperature=0)]
    for scored in score_targets(model, SOURCES, greedy, CPU, start_id=start):
        assert scored.likeliest.all()


def test_a_target_beyond_the_window_is_refused(model, tokenizer):
    with pytest.raises(RequestError, match="do not fit"):
        score_targets(model, SOURCES[:1], [[5] * 33], CPU, start_id=tokenizer.start_id)
