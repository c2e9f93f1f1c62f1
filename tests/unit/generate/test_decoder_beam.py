"""Beam search of decoders: against an exhaustive search, `transformers`, a plain diverse search, and prompts one by one."""

import itertools
import math

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from finetuning import tiny
from hanlin.base.errors import CheckpointError, RequestError
from hanlin.checkpoint.recognize import read_config
from hanlin.checkpoint.weights import read_weights
from hanlin.generate import decoder_beam
from hanlin.generate.beam import BeamConfig, beam_search
from hanlin.generate.decoder_beam import SlotRows, likeliest_texts
from hanlin.generate.forbidden import Forbidden
from hanlin.generate.kernel_runner import KernelRunner
from hanlin.generate.runner import Chunk
from hanlin.generate.torch_runner import TorchRunner
from hanlin.kernel.library import available
from hanlin.model.adapters.adapters import Adapters
from hanlin.model.adapters.config import LoraConfig, PrefixConfig, PromptConfig
from hanlin.model.assemble import build_empty
from tiny import CPU, scatter

END = 2


def ids_of(*lengths, below=290, seed=3):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(5, below, (length,), generator=generator).tolist() for length in lengths]


def searched(model, prompt, most, config):
    """Hypotheses by ids alone."""
    runner = TorchRunner(model, CPU, slots=config.beams)
    rows = SlotRows(runner, [prompt], None, runner.vocab_size)
    return beam_search(rows, [prompt], config, ends={END}, limits=[most])[0]


def log_probabilities(model, prompt, texts):
    """Of each token of texts of one length, (B, T), in nats."""
    with torch.no_grad():
        read = torch.tensor([[*prompt, *text[:-1]] for text in texts])
        log_p = model(read)[:, len(prompt) - 1 :].log_softmax(-1)
    return log_p.gather(2, torch.tensor(texts).unsqueeze(2)).squeeze(2)


@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0, -1.0])
def test_with_enough_beams_the_best_of_all_texts_is_found(penalty):
    """Every text of up to four tokens over five, scored by the model itself."""
    model, prompt, scored = tiny("llama", vocab_size=5), [3, 4, 0, 3], {}
    for length in range(1, 5):
        texts = [
            text
            for text in itertools.product(range(5), repeat=length)
            if END not in text[:-1] and (length == 4 or text[-1] == END)
        ]
        sums = log_probabilities(model, prompt, texts).sum(1).tolist()
        scored |= {text: one / length**penalty for text, one in zip(texts, sums, strict=True)}
    ranked = sorted(scored, key=lambda text: -scored[text])
    config = BeamConfig(beams=128, length_penalty=penalty, early_stopping="never")
    found = searched(model, prompt, 4, config)
    sure = 100 if penalty >= 0 else 1  # below 0 a search may end before it has found as many
    written = [(*one.ids, END) if one.ended else tuple(one.ids) for one in found]
    assert written[:sure] == ranked[:sure]
    for one in found:
        text = (*one.ids, END) if one.ended else tuple(one.ids)
        assert one.score == pytest.approx(scored[text], abs=1e-4)
        each = log_probabilities(model, prompt, [text])[0].tolist()
        assert one.log_probabilities == pytest.approx(each, abs=1e-4)
        assert one.log_probability == pytest.approx(sum(each), abs=1e-4)


# Against `transformers`.


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def pair(request, tokenizer, tmp_path_factory):
    """A model of theirs and the same opened as ours."""
    size = {"vocab_size": tokenizer.vocab_size}
    theirs = {
        "llama": lambda: LlamaForCausalLM(
            LlamaConfig(
                hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                intermediate_size=48, max_position_embeddings=96, **size,
            )
        ),
        "gpt2": lambda: GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=96, **size)),
    }[request.param]()  # fmt: skip
    theirs = scatter(theirs)
    with torch.no_grad():  # some texts end early, some late
        theirs.get_output_embeddings().weight[list(tokenizer.stop_ids)] *= 1.6
    folder = tmp_path_factory.mktemp(request.param)
    theirs.save_pretrained(folder)
    family, core = read_config(folder)
    ours = build_empty(core, torch.device("cpu"))
    read_weights(folder, ours, family)
    return theirs, ours.eval()


PROMPTS = ids_of(7, 3, 9, 1)
SETTINGS = [
    {"beams": 5, "no_repeat_ngram": 2, "early_stopping": True},  # rows DE-01, DE-05, X03
    {"beams": 1},
    {"beams": 4, "length_penalty": 0.0},
    {"beams": 3, "length_penalty": 2.0, "early_stopping": "never", "best": 2},
    {"beams": 6, "length_penalty": -0.1, "best": 6},
    {"beams": 4, "no_repeat_ngram": 1, "early_stopping": "never"},
    {"beams": 3, "min_new_tokens": 12, "early_stopping": True, "best": 3},
]


def found_by_theirs(theirs, prompts, config, ends, most):
    """(ids and what follows them, score) of the best texts of each prompt, padded on the left."""
    longest = max(map(len, prompts))
    found = theirs.generate(
        torch.tensor([[0] * (longest - len(ids)) + ids for ids in prompts]),
        attention_mask=torch.tensor([[0] * (longest - len(ids)) + [1] * len(ids) for ids in prompts]),
        num_beams=config.beams, num_return_sequences=config.best or 1, length_penalty=config.length_penalty,
        early_stopping=config.early_stopping, max_new_tokens=most, min_new_tokens=config.min_new_tokens or None,
        no_repeat_ngram_size=config.no_repeat_ngram or None, eos_token_id=sorted(ends), pad_token_id=0,
        do_sample=False, return_dict_in_generate=True, output_scores=True,
    )  # fmt: skip
    ids = [row[longest:].tolist() for row in found.sequences]
    scores = [None] * len(ids) if config.beams == 1 else found.sequences_scores.tolist()
    return list(zip(*[iter(zip(ids, scores, strict=True))] * (config.best or 1), strict=True))


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_texts_and_scores_are_those_of_transformers(pair, tokenizer, settings):
    """Their prompts are padded on the left, unless padding would count as a run of tokens; ours never are."""
    theirs, ours = pair
    config, ends, most = BeamConfig(**settings), tokenizer.stop_ids, 50
    batches = [[prompt] for prompt in PROMPTS] if config.no_repeat_ngram else [PROMPTS]
    expected = [one for batch in batches for one in found_by_theirs(theirs, batch, config, ends, most)]
    texts = likeliest_texts(TorchRunner(ours, CPU), tokenizer, PROMPTS, config, max_new_tokens=most)
    for those, found in zip(texts, expected, strict=True):
        assert len(those) == (config.best or config.beams)
        for one, (ids, score) in zip(those, found, strict=False):
            length = len(one.token_ids)
            assert ids[:length] == list(one.token_ids)
            assert length == most if one.finish_reason == "length" else ids[length] in ends
            assert one.text == tokenizer.decode(one.token_ids)
            assert score is None or one.score == pytest.approx(score, abs=1e-4)
    if settings is SETTINGS[0]:
        assert len({len(those[0].token_ids) for those in texts}) > 1, "some end early, some late"


# Prompts, slots and windows.


@pytest.fixture(scope="module")
def unlike(tokenizer):
    """A model whose texts end early and late."""
    model = tiny("llama", seed=2, vocab_size=tokenizer.vocab_size, window=64, width=32, heads=4)
    with torch.no_grad():
        model.head.weight[list(tokenizer.stop_ids)] *= 2.5
    return model


def same(a, b):
    assert [one.token_ids for one in a] == [one.token_ids for one in b]
    assert [one.score for one in a] == pytest.approx([one.score for one in b], abs=1e-5)


@pytest.mark.parametrize(
    "settings",
    [{"beams": 4}, {"beams": 6, "groups": 3, "diversity": 0.7}, {"beams": 3, "no_repeat_ngram": 2}],
    ids=str,
)
def test_together_prompts_get_the_texts_that_they_get_alone(unlike, tokenizer, settings, monkeypatch):
    """However few tokens are read at once, and however few texts there is room for."""
    prompts, config = ids_of(7, 3, 21, 1, 9, 9), BeamConfig(**settings)
    runner = TorchRunner(unlike, CPU)
    together = likeliest_texts(runner, tokenizer, prompts, config, max_new_tokens=12)
    assert len({len(found[0].token_ids) for found in together}) > 1
    monkeypatch.setattr(decoder_beam, "READ_AT_ONCE", 4)
    monkeypatch.setattr(decoder_beam, "ROWS_AT_ONCE", {"cpu": 1})
    few = likeliest_texts(runner, tokenizer, prompts, config, max_new_tokens=12)
    for prompt, found in zip(prompts, together, strict=True):
        (alone,) = likeliest_texts(runner, tokenizer, [prompt], config, max_new_tokens=12)
        same(alone, found)
    for a, b in zip(few, together, strict=True):
        same(a, b)


def test_what_the_runner_holds_stays(unlike, tokenizer):
    runner = TorchRunner(unlike, CPU, slots=2)
    runner.forward([Chunk(1, [7, 8, 9])])
    likeliest_texts(runner, tokenizer, PROMPTS, BeamConfig(beams=3), max_new_tokens=8)
    assert [runner.length(slot) for slot in (0, 1)] == [0, 3]
    again = runner.forward([Chunk(1, [10])])
    whole = TorchRunner(unlike, CPU, slots=1).forward([Chunk(0, [7, 8, 9, 10])])
    torch.testing.assert_close(again, whole, atol=1e-5, rtol=0)


@pytest.mark.skipif(not available(), reason="the kernel is not built")
@pytest.mark.parametrize("settings", [{"beams": 5}, {"beams": 4, "groups": 2, "diversity": 0.5}], ids=str)
def test_the_kernel_finds_the_texts_that_pytorch_finds(unlike, tokenizer, settings):
    config, texts = BeamConfig(no_repeat_ngram=2, **settings), []
    for runner in (TorchRunner(unlike, CPU), KernelRunner(unlike)):
        texts.append(likeliest_texts(runner, tokenizer, PROMPTS, config, max_new_tokens=16))
    for a, b in zip(*texts, strict=True):
        assert [one.text for one in a] == [one.text for one in b]
        assert [one.score for one in a] == pytest.approx([one.score for one in b], abs=1e-4)


def test_a_text_stays_in_its_slot_unless_it_comes_twice(unlike):
    copied = []

    class Watched(TorchRunner):
        def copy(self, source, target, length):
            copied.append((source, target, length))
            super().copy(source, target, length)

    rows = SlotRows(Watched(unlike, CPU, slots=4), [[7, 8, 9]], None, unlike.config.vocab_size)
    rows.logits(torch.tensor([9]))
    rows.keep(torch.tensor([0, 0, 0]))
    assert copied == [(0, 1, 3), (0, 2, 3)]
    rows.logits(torch.tensor([5, 6, 7]))
    rows.keep(torch.tensor([2, 1, 0]))
    assert len(copied) == 2
    rows.keep(torch.tensor([2, 2, 0]))
    assert copied[2:] == [(0, 1, 4)]
    logits_RV = rows.logits(torch.tensor([8, 8, 8]))
    with torch.no_grad():
        expected_RV = unlike(torch.tensor([[7, 8, 9, token, 8] for token in (5, 5, 7)]))[:, -1]
    torch.testing.assert_close(logits_RV, expected_RV, atol=1e-5, rtol=0)


def test_a_text_ends_where_the_window_is_full(unlike, tokenizer):
    runner = TorchRunner(unlike, CPU, slots=2, window=16)
    long, short = ids_of(11, 3)
    config = BeamConfig(beams=2, min_new_tokens=60)
    found = likeliest_texts(runner, tokenizer, [long, short], config, max_new_tokens=60)
    assert [[len(one.token_ids) for one in those] for those in found] == [[5, 5], [13, 13]]
    assert {one.finish_reason for those in found for one in those} == {"length"}


def test_what_is_forbidden_is_not_written(unlike, tokenizer):
    runner = TorchRunner(unlike, CPU)

    def texts(**settings):
        config = BeamConfig(beams=3, min_new_tokens=20, **settings)
        return likeliest_texts(runner, tokenizer, PROMPTS, config, max_new_tokens=20)

    plain = texts()
    bad = next(one for those in plain for one in [those[0].text[2:4]] if one.strip() and "\ufffd" not in one)
    assert any(bad in one.text for those in plain for one in those)
    assert not any(bad in one.text for those in texts(bad_words=(bad,)) for one in those)
    token = plain[0][0].token_ids[1]
    config = BeamConfig(beams=3, min_new_tokens=20)
    banned = likeliest_texts(runner, tokenizer, PROMPTS, config, max_new_tokens=20, banned=[token])
    assert not any(token in one.token_ids for those in banned for one in those)


def test_runs_of_the_prompt_count_and_forbidden_tokens_leave_the_probabilities_of_others():
    log_p_RV = torch.zeros(2, 6)
    Forbidden([1], ngram=2).remove(log_p_RV, [[3, 4, 3], [3, 5]], [3, 1])
    assert log_p_RV.isinf().nonzero().tolist() == [[0, 1], [0, 4], [1, 1]]


@pytest.mark.parametrize(
    "config",
    [
        LoraConfig(),
        LoraConfig(layers=("head", "attention.query")),
        PromptConfig(length=5),
        PrefixConfig(length=5),
    ],
    ids=str,
)
def test_a_search_goes_through_its_adapter(tokenizer, config):
    model = tiny("llama", vocab_size=tokenizer.vocab_size)
    adapters = Adapters(model)
    adapters.add("formal", config)
    scatter(model)
    runner = TorchRunner(model, CPU, adapters=adapters)
    settings = BeamConfig(beams=3, length_penalty=0.0)
    found = likeliest_texts(runner, tokenizer, [[5, 9, 7]], settings, max_new_tokens=5, adapter="formal")[0]
    plain = likeliest_texts(runner, tokenizer, [[5, 9, 7]], settings, max_new_tokens=5)[0]
    assert found[0].score != pytest.approx(plain[0].score, abs=1e-3)
    adapters.active = "formal"
    virtual = adapters.prompt_ids("formal")
    for one in found:
        if one.finish_reason == "length":
            each = log_probabilities(model, [*virtual, 5, 9, 7], [one.token_ids])[0]
            assert one.log_probabilities == pytest.approx(each.tolist(), abs=1e-4)


# Diverse groups.


def plain_diverse(model, prompt, most, beams, groups, diversity, penalty):
    """Algorithm 1 of arXiv 1610.02424, hypothesis by hypothesis: the term of diversity counts at its step only."""
    size = beams // groups
    running = [[((), 0.0)] for _ in range(groups)]
    ended = [[] for _ in range(groups)]
    done = [False] * groups
    for step in range(1, most + 1):
        written = []
        for group in range(groups):
            if done[group]:
                continue
            reached = []
            for text, log_p in running[group]:
                with torch.no_grad():
                    next_V = model(torch.tensor([[*prompt, *text]]))[0, -1].log_softmax(-1).tolist()
                for token, more in enumerate(next_V):
                    rank = log_p + more - diversity * written.count(token)
                    reached.append((rank, (*text, token), log_p + more))
            reached = sorted(reached, key=lambda one: -one[0])[: 2 * size]
            running[group] = []
            for place, (_, text, log_p) in enumerate(reached):
                if text[-1] == END or step == most:
                    if place < size:
                        ended[group].append((log_p / step**penalty, text))
                elif len(running[group]) < size:
                    running[group].append((text, log_p))
            ended[group] = sorted(ended[group], reverse=True)[:size]
            full = len(ended[group]) == size
            best = max((log_p for _, log_p in running[group]), default=-math.inf)
            done[group] = not running[group] or (
                full and (size == 1 or best / step**penalty <= ended[group][-1][0])
            )
            if not done[group]:
                written += [text[-1] for text, _ in running[group]]
    return ended


@pytest.mark.parametrize(
    ("beams", "groups", "diversity", "penalty"),
    [(4, 2, 0.5, 1.0), (6, 3, 1.5, 0.0), (3, 3, 5.0, 1.0), (4, 2, 0.0, 0.7), (6, 2, 0.3, 1.0)],
)
def test_groups_write_what_a_plain_diverse_search_writes(beams, groups, diversity, penalty):
    model = tiny("llama", seed=5, vocab_size=24, head_bias=True)
    with torch.no_grad():
        model.head.bias[END] += 1.0
    config = BeamConfig(beams=beams, groups=groups, diversity=diversity, length_penalty=penalty)
    for prompt in ids_of(5, 2, 8, below=24):
        expected = plain_diverse(model, prompt, 7, beams, groups, diversity, penalty)
        found = searched(model, prompt, 7, config)
        assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
        for group in range(groups):
            those = [one for one in found if one.group == group]
            texts = [(*one.ids, END) if one.ended else tuple(one.ids) for one in those]
            assert texts == [text for _, text in expected[group]]
            assert [one.score for one in those] == pytest.approx(
                [score for score, _ in expected[group]], abs=1e-4
            )


def test_enough_diversity_makes_every_group_begin_unlike_the_others(unlike, tokenizer):
    runner = TorchRunner(unlike, CPU)

    def begun(**settings):
        config = BeamConfig(beams=4, groups=4, **settings)
        (found,) = likeliest_texts(runner, tokenizer, PROMPTS[:1], config, max_new_tokens=4)
        return [(one.group, one.token_ids[0] if one.token_ids else None) for one in found]

    assert len({token for _, token in begun()}) == 1
    unequal = begun(diversity=1000.0)
    assert sorted(group for group, _ in unequal) == [0, 1, 2, 3]
    assert len({token for _, token in unequal}) == 4


# What is refused.


@pytest.mark.parametrize(
    ("settings", "en", "zh"),
    [
        ({"beams": 0}, "beams = 0", "beams >= 1 且 <= 256"),
        ({"beams": 4, "groups": 3}, "cannot be divided into groups = 3", "不能均分"),
        ({"diversity": 0.5}, "does nothing in one group", "只有一组"),
        ({"beams": 2, "best": 3}, "best = 3 texts cannot come of beams = 2", "不可能得到"),
        ({"groups": 2, "diversity": -1}, "diversity = -1", "diversity"),
        ({"early_stopping": "soon"}, "early_stopping", "early_stopping"),
        ({"length_penalty": math.inf}, "length_penalty = inf", "length_penalty >= -10 且 <= 10"),
        ({"bad_words": ("",)}, "empty text", "空文本"),
        ({"beam": 3}, "did you mean beams", "是否想写 beams"),
        ({"temperature": 0.7, "top_p": 0.5}, "no temperature, top_p", "没有 temperature、top_p"),
    ],
    ids=str,
)
def test_settings_that_cannot_be_are_named_in_both_languages(settings, en, zh):
    with pytest.raises(RequestError) as error:
        BeamConfig.chosen(settings)
    assert en in error.value.problem.en
    assert zh in error.value.problem.zh


@pytest.mark.parametrize(
    ("prompts", "given", "message"),
    [
        ([[]], {}, "prompt is empty"),
        ([[3] * 64], {}, "64 tokens"),
        ([[5000]], {}, "outside the vocabulary"),
        ([[3]], {"adapter": "formal"}, "no adapter formal"),
    ],
    ids=str,
)
def test_prompts_that_cannot_be_continued(unlike, tokenizer, prompts, given, message):
    runner = TorchRunner(unlike, CPU)
    with pytest.raises(RequestError, match=message):
        likeliest_texts(runner, tokenizer, prompts, BeamConfig(beams=3), max_new_tokens=4, **given)


def test_lengths_that_contradict_each_other_are_told(unlike, tokenizer):
    assert likeliest_texts(TorchRunner(unlike, CPU), tokenizer, [], BeamConfig(), max_new_tokens=4) == []
    with pytest.raises(RequestError, match="min_new_tokens = 5 is more than max_new_tokens = 4"):
        likeliest_texts(
            TorchRunner(unlike, CPU), tokenizer, PROMPTS, BeamConfig(min_new_tokens=5), max_new_tokens=4
        )


def test_damaged_weights_are_told(tokenizer):
    model = tiny("llama", vocab_size=tokenizer.vocab_size)
    with torch.no_grad():
        model.head.weight[3] = math.nan
    with pytest.raises(CheckpointError, match="finite"):
        likeliest_texts(TorchRunner(model, CPU), tokenizer, [[5]], BeamConfig(), max_new_tokens=4)
