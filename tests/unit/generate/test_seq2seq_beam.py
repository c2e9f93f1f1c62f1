"""Beam search of encoder-decoders: against an exhaustive search, `transformers`, and decoding one by one."""

import itertools
import math

import pytest
import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    MarianConfig,
    MarianMTModel,
    T5Config,
    T5ForConditionalGeneration,
)

from finetuning import tiny
from hanlin.checkpoint.recognize import read_config
from hanlin.checkpoint.weights import read_weights
from hanlin.generate.beam import BeamConfig
from hanlin.generate.seq2seq import write_targets
from hanlin.model.assemble import build_empty
from hanlin.model.cache import KeyValueCache
from tiny import CPU

START, END = 1, 2
SEED = torch.Generator().manual_seed(3)
SOURCES = [torch.randint(3, 24, (length,), generator=SEED).tolist() for length in (7, 3, 9, 9, 5, 1)]


def written(model, sources=SOURCES, most=8, **settings):
    return write_targets(
        model, sources, CPU, BeamConfig(**settings), start_id=START, ends={END}, max_new_tokens=most
    )


UNLIKE = {"sinusoidal": (7, 2.5), "relative": (3, 1.5), "rotary": (6, 1.5)}
"""Seeds, and how much likelier the end is made, at which some texts end early and some late."""


def ending(position="sinusoidal"):
    seed, bias = UNLIKE[position]
    model = tiny("transformer", seed=seed, head_bias=True, position=position)
    with torch.no_grad():
        model.head.bias[END] += bias
    return model


def log_probabilities(model, source, texts):
    """Of each text, token by token, in nats."""
    with torch.no_grad():
        sources = torch.tensor([source] * len(texts))
        read = torch.tensor([[START, *text[:-1]] for text in texts])
        log_p = model(sources, read).log_softmax(-1)
    return log_p.gather(2, torch.tensor(texts).unsqueeze(2)).squeeze(2).sum(1)


@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0])
def test_with_enough_beams_the_best_of_all_texts_is_found(penalty):
    """Every text of up to four tokens over five, scored by the model itself."""
    model = tiny("transformer", vocab_size=5)
    source, scored = [3, 4, 4, 0, 3], {}
    for length in range(1, 5):
        texts = [
            text
            for text in itertools.product(range(5), repeat=length)
            if END not in text[:-1] and (length == 4 or text[-1] == END)
        ]
        log_p = log_probabilities(model, source, texts)
        scored |= {text: float(one) / length**penalty for text, one in zip(texts, log_p, strict=True)}
    ranked = sorted(scored, key=lambda text: -scored[text])
    found = written(
        model, [source], most=4, beams=128, length_penalty=penalty, early_stopping="never"
    )[0]  # fmt: skip
    assert len(found) == 128
    for text, hypothesis in zip(ranked, found, strict=False):
        assert (tuple(hypothesis.ids), hypothesis.ended) == (
            text[:-1] if text[-1] == END else text,
            text[-1] == END,
        )
        assert hypothesis.score == pytest.approx(scored[text], abs=1e-4)


def test_fewer_beams_may_miss_the_best_but_never_misname_a_score():
    model = tiny("transformer", seed=2)
    for found in written(model, beams=3, length_penalty=0.7):
        scores = [one.score for one in found]
        assert scores == sorted(scores, reverse=True)
    found = written(model, SOURCES[:1], beams=3, length_penalty=0.7)[0]
    for one in found:
        text = [*one.ids, END] if one.ended else one.ids
        log_p = float(log_probabilities(model, SOURCES[0], [text]))
        assert one.log_probability == pytest.approx(log_p, abs=1e-4)
        assert one.score == pytest.approx(log_p / len(text) ** 0.7, abs=1e-4)


@pytest.mark.parametrize("position", UNLIKE)
@pytest.mark.parametrize("beams", [1, 4])
def test_together_sources_get_the_texts_that_they_get_alone(position, beams):
    """Sources of unlike lengths end at unlike steps, and leave the batch."""
    model = ending(position)
    together = written(model, beams=beams)
    assert len({len(found[0].ids) for found in together}) > 1
    for source, found in zip(SOURCES, together, strict=True):
        (alone,) = written(model, [source], beams=beams)
        assert [one.ids for one in alone] == [one.ids for one in found]
        assert [one.score for one in alone] == pytest.approx([one.score for one in found], abs=1e-5)


def test_rows_of_sources_that_are_done_cost_nothing_more():
    model, rows = ending(), []
    whole = model.decoder.hidden
    model.decoder.hidden = lambda tokens_BT, **rest: (rows.append(len(tokens_BT)), whole(tokens_BT, **rest))[
        1
    ]
    found = written(model, beams=1)
    lengths = [len(one[0].ids) + one[0].ended for one in found]
    assert rows == [sum(length > step for length in lengths) for step in range(max(lengths))]


def test_the_cache_grows_with_the_text():
    model = tiny("transformer", seed=4, window=64)
    banned = [END]
    config = BeamConfig(beams=2, length_penalty=0.0)
    settings = {"start_id": START, "ends": {END}, "banned": banned}
    (long,) = write_targets(model, SOURCES[:1], CPU, config, max_new_tokens=60, **settings)
    assert [(len(one.ids), one.ended) for one in long] == [(60, False)] * 2
    log_p = float(log_probabilities(model, SOURCES[0], [long[0].ids]))
    # What is banned takes its probability with it.
    assert long[0].log_probability == pytest.approx(log_p, abs=1e-3)


def test_a_text_is_no_longer_than_the_window():
    model = tiny("transformer", seed=4)  # of 32 tokens
    settings = {"start_id": START, "ends": {END}, "banned": [END]}
    (found,) = write_targets(model, SOURCES[:1], CPU, BeamConfig(beams=1), max_new_tokens=100, **settings)
    assert len(found[0].ids) == 32


def test_no_run_of_tokens_comes_twice():
    model = tiny("transformer", seed=4)
    settings = {"start_id": START, "ends": {END}, "banned": [END], "max_new_tokens": 20}

    def runs(size, **more):
        (found,) = write_targets(model, SOURCES[:1], CPU, BeamConfig(beams=2, **more), **settings)
        return [tuple(found[0].ids[i : i + size]) for i in range(len(found[0].ids) - size + 1)]

    for size in (1, 2, 3):
        if size > 1:
            assert len(set(runs(size))) < len(runs(size)), "without the rule some do"
        unlike = runs(size, no_repeat_ngram=size)
        assert len(set(unlike)) == len(unlike) > 10


def test_where_no_token_is_left_the_text_stops():
    model = tiny("transformer", seed=4)
    config = BeamConfig(beams=2, no_repeat_ngram=1)
    settings = {"start_id": START, "ends": {END}, "banned": [END, 5], "max_new_tokens": 30}
    ((best, *_),) = write_targets(model, SOURCES[:1], CPU, config, **settings)
    assert sorted([*best.ids, START, END, 5]) == list(range(24))
    assert not best.ended


def test_rows_of_a_cache_are_chosen_and_lengthened():
    model = tiny("transformer")
    cache = KeyValueCache(model.config, rows=3, capacity=4)
    memory = model.encode(torch.tensor([[5, 6], [7, 8], [9, 10]]))
    with torch.no_grad():
        model.hidden(torch.tensor([[1, 3], [1, 4], [1, 5]]), memory, cache)
        chosen = cache.chosen(torch.tensor([2, 2, 0, 1]))
        longer = chosen.lengthened(9)
    assert (longer.capacity, longer.lengths_B.tolist()) == (9, [2, 2, 2, 2])
    assert torch.equal(longer.keys_LBGSD[:, 1, :, :2], cache.keys_LBGSD[:, 2, :, :2])
    assert torch.equal(longer.values_LBGSD[:, 3, :, :2], cache.values_LBGSD[:, 1, :, :2])
    assert not math.isclose(float(longer.keys_LBGSD[:, 0].abs().sum()), 0.0)


# Against `transformers`.

V = 60
IDS = {"pad_token_id": 0, "eos_token_id": END, "decoder_start_token_id": START, "bos_token_id": None}
T5_SHAPE = {"vocab_size": V, "d_model": 24, "d_kv": 6, "d_ff": 40, "num_layers": 2, "num_heads": 4, **IDS}
BART_SHAPE = {"vocab_size": V, "d_model": 24, "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 40,
              "decoder_ffn_dim": 40, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
              "max_position_embeddings": 40, "forced_eos_token_id": None, **IDS}  # fmt: skip
THEIRS = {
    "marian": (MarianMTModel, MarianConfig(**BART_SHAPE, scale_embedding=True)),
    "bart": (BartForConditionalGeneration, BartConfig(**BART_SHAPE)),
    "t5": (T5ForConditionalGeneration, T5Config(**T5_SHAPE)),
}


@pytest.fixture(scope="module", params=list(THEIRS))
def pair(request, tmp_path_factory):
    """A model of theirs and the same opened as ours."""
    kind, config = THEIRS[request.param]
    torch.manual_seed(5)
    theirs = kind(config).eval()
    with torch.no_grad():
        for weight in theirs.parameters():
            if weight.requires_grad:  # Marian's sinusoids are parameters too
                weight.add_(torch.randn_like(weight) * 0.15)
        # Some texts end early, some late: what makes a search end is looked at from all sides.
        theirs.get_output_embeddings().weight[END] *= 1.3
    folder = tmp_path_factory.mktemp(request.param)
    theirs.save_pretrained(folder)
    family, core = read_config(folder)
    ours = build_empty(core, torch.device("cpu"))
    read_weights(folder, ours, family)
    return theirs, ours.eval()


SETTINGS = [
    {"beams": 1},
    {"beams": 4},
    {"beams": 4, "length_penalty": 0.0},
    {"beams": 3, "length_penalty": 2.0, "early_stopping": "never"},
    {"beams": 4, "early_stopping": True},
    {"beams": 4, "no_repeat_ngram": 2},
    {"beams": 1, "no_repeat_ngram": 3},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_texts_and_scores_are_those_of_transformers(pair, settings):
    theirs, ours = pair
    lengths = [len(ids) for ids in SOURCES]
    source_BS = torch.tensor([ids + [0] * (max(lengths) - len(ids)) for ids in SOURCES])
    real_BS = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    config = BeamConfig(**settings)
    theirs_found = theirs.generate(
        source_BS, attention_mask=real_BS, num_beams=config.beams, length_penalty=config.length_penalty,
        early_stopping=config.early_stopping, no_repeat_ngram_size=config.no_repeat_ngram or None, max_new_tokens=14,
        do_sample=False, return_dict_in_generate=True, output_scores=True,
    )  # fmt: skip
    found = write_targets(ours, SOURCES, CPU, config, start_id=START, ends={END}, max_new_tokens=14)
    for row, (best, *_) in enumerate(found):
        said = [START, *best.ids, *([END] if best.ended else [])]
        whole = theirs_found.sequences[row].tolist()
        assert whole[: len(said)] == said
        assert set(whole[len(said) :]) <= {0, END}
        if config.beams > 1:
            assert best.score == pytest.approx(float(theirs_found.sequences_scores[row]), abs=1e-4)
