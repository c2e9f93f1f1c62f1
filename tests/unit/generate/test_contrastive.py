"""Contrastive search against the formula of its paper, token by token, without a cache."""

import pytest
import torch

from finetuning import tiny
from hanlin.base.errors import RequestError
from hanlin.generate.contrastive import ContrastiveConfig, contrastive_search, contrastive_text
from tiny import CPU

END = 2
PROMPT = [5, 9, 7, 11, 3]


def plain(model, prompt, k, alpha, most):
    """Eq. 5 of arXiv 2202.06417, every candidate read with the whole text before it."""
    ids, log_ps = list(prompt), []
    cosine = torch.nn.CosineSimilarity(dim=1)
    while len(ids) < len(prompt) + most and (len(ids) == len(prompt) or ids[-1] != END):
        with torch.no_grad():
            p_V = model(torch.tensor([ids]))[0, -1].softmax(0)
            scored = []
            for v in p_V.argsort(descending=True)[:k].tolist():
                hidden_TC = model.hidden(torch.tensor([[*ids, v]]))[0]
                alike = float(cosine(hidden_TC[-1:], hidden_TC[:-1]).max())
                scored.append(((1 - alpha) * float(p_V[v]) - alpha * alike, v))
        ids.append(max(scored, key=lambda one: one[0])[1])
        log_ps.append(float(p_V[ids[-1]].log()))
    return ids[len(prompt) :], log_ps


def search(model, k, alpha, most, prompt=PROMPT):
    config = ContrastiveConfig(candidates=k, degeneration=alpha)
    return contrastive_search(
        model, CPU, prompt, config, ends={END}, most=most, vocab_size=model.config.vocab_size
    )


@pytest.mark.parametrize("style", ["llama", "gpt2"])
@pytest.mark.parametrize(("k", "alpha"), [(4, 0.6), (3, 0.3), (24, 0.9), (1, 0.6), (5, 0.0)])
def test_tokens_are_those_of_the_formula(style, k, alpha):
    model = tiny(style, seed=3)
    for prompt in (PROMPT, [4]):
        ids, log_ps = search(model, k, alpha, 14, prompt)
        expected, expected_log_ps = plain(model, prompt, k, alpha, 14)
        assert ids == expected
        assert log_ps == pytest.approx(expected_log_ps, abs=1e-4)


def test_one_candidate_and_no_degeneration_are_greedy_and_the_term_changes_the_text():
    model = tiny("llama", seed=3)
    greedy, _ = search(model, 1, 0.6, 14)
    assert search(model, 6, 0.0, 14)[0] == greedy
    assert search(model, 6, 0.8, 14)[0] != greedy


def test_a_text_ends_with_a_stop_token_or_the_window(tokenizer):
    model = tiny("llama", seed=1, vocab_size=tokenizer.vocab_size, head_bias=True)
    long = contrastive_text(model, tokenizer, CPU, PROMPT, max_new_tokens=99)
    assert (len(long.token_ids), long.finish_reason) == (32 - len(PROMPT), "length")
    assert long.text == tokenizer.decode(long.token_ids)
    with torch.no_grad():
        model.head.bias[list(tokenizer.stop_ids)] += 1000
    short = contrastive_text(model, tokenizer, CPU, PROMPT, max_new_tokens=99, candidates=1)
    assert (short.token_ids, short.finish_reason) == ((), "stop")
    assert len(short.log_probabilities) == 1
    assert short.log_probability == pytest.approx(short.log_probabilities[0])


@pytest.mark.parametrize(
    ("prompt", "given", "en", "zh"),
    [
        ([], {}, "empty", "为空"),
        ([3] * 32, {}, "window of 32", "32"),
        ([5000], {}, "outside the vocabulary", "超出词表"),
        ([3], {"candidates": 0}, "candidates = 0", "candidates >= 1"),
        ([3], {"degeneration": 1.5}, "degeneration = 1.5", "degeneration >= 0 且 <= 1"),
    ],
    ids=str,
)
def test_what_cannot_be_is_said_in_both_languages(tokenizer, prompt, given, en, zh):
    model = tiny("llama", vocab_size=tokenizer.vocab_size)
    with pytest.raises(RequestError) as error:
        contrastive_text(model, tokenizer, CPU, prompt, max_new_tokens=4, **given)
    assert en in error.value.problem.en
    assert zh in error.value.problem.zh
