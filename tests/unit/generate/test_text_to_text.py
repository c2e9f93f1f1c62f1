"""An encoder-decoder opened from a folder: what it writes for a text, and how likely it says a text is."""

import pytest
import torch

from finetuning import tiny
from hanlin.base.errors import CheckpointError, RequestError
from hanlin.checkpoint.defaults import GenerationDefaults
from hanlin.checkpoint.folder import save_model
from hanlin.generate.text_to_text import load_seq2seq

SOURCE = "The scholars read 史书。"


@pytest.fixture(scope="module")
def opened(tokenizer, tmp_path_factory):
    model = tiny("transformer", seed=3, vocab_size=tokenizer.vocab_size + 4, head_bias=True)
    with torch.no_grad():
        model.head.bias[list(tokenizer.stop_ids)] += 3.0
        model.head.bias[tokenizer.vocab_size :] += 3.0  # rows that no token has are never written
    folder = tmp_path_factory.mktemp("seq2seq") / "tiny"
    save_model(folder, model, tokenizer, GenerationDefaults(top_k=5), {}, {})
    return load_seq2seq(folder, "cpu")


def test_the_best_text_of_a_search_is_no_less_likely_than_the_greedy_one(opened):
    found = opened.beam(SOURCE, beams=6, best=4, length_penalty=0.0, max_new_tokens=12)
    assert len(found) == 4
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    greedy = opened.generate(SOURCE, temperature=0, max_new_tokens=12, log_probabilities=0)
    told = sum(token.log_probability for token in greedy.tokens)
    assert found[0].log_probability >= told - 1e-4
    assert found[0].log_probability == pytest.approx(sum(found[0].log_probabilities), abs=1e-4)
    assert all(id < opened.tokenizer.vocab_size for one in found for id in one.token_ids)
    assert greedy.prompt_tokens == len(opened.tokenizer.encode_single(SOURCE).ids)


def test_samples_have_seeds_of_their_own(opened):
    assert opened.defaults.top_k == 5
    first, second = opened.samples(SOURCE, 2, seed=4, max_new_tokens=10)
    assert (first.seed, second.seed) == (4, 5)
    assert opened.generate(SOURCE, seed=5, max_new_tokens=10) == second
    assert first.text != second.text
    assert first.model == "tiny"


def test_the_log_probability_of_a_target_counts_its_end(opened):
    tokenizer = opened.tokenizer
    source, target = (
        tokenizer.encode_single(SOURCE).ids,
        [*tokenizer.encode("academy 学士"), tokenizer.eos_id],
    )
    with torch.no_grad():
        read = torch.tensor([[tokenizer.start_id, *target[:-1]]])
        log_p_TV = opened.model(torch.tensor([source]), read)[0].log_softmax(1)
    expected = sum(float(log_p_TV[place, id]) for place, id in enumerate(target))
    assert opened.logprob(SOURCE, "academy 学士") == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("ask", "en", "zh"),
    [
        (lambda opened: opened.beam(" "), "empty", "为空"),
        (lambda opened: opened.beam(SOURCE, beams=0), "beams = 0", "beams"),
        (lambda opened: opened.beam(SOURCE, temperature=1), "no temperature", "没有 temperature"),
        (lambda opened: opened.generate(SOURCE, top_p=2), "top_p = 2", "top_p"),
        (lambda opened: opened.generate("学" * 200), "do not fit", "窗口"),
        (lambda opened: opened.logprob("", "x"), "empty", "为空"),
    ],
)
def test_what_cannot_be_is_said_in_both_languages(opened, ask, en, zh):
    with pytest.raises(RequestError) as error:
        ask(opened)
    assert en in error.value.problem.en
    assert zh in error.value.problem.zh


def test_a_decoder_is_refused(folder):
    with pytest.raises(CheckpointError, match="holds no encoder-decoder"):
        load_seq2seq(folder, "cpu")
