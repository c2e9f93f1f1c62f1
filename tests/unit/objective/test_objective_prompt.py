"""Templates with a gap: likelihoods by hand, what is cut, few labels, and soft prompts that alone are trained."""

import numpy as np
import pytest
import torch

from finetuning import every_row, examined, gradients, learn, same, tiny
from hanlin.base.errors import ConfigError, DataError
from hanlin.batches.batch import IGNORE
from hanlin.batches.labels import class_labels
from hanlin.batches.prompted import PromptedTexts
from hanlin.batches.template import Template
from hanlin.model.adapters.adapters import Adapters
from hanlin.model.adapters.config import PromptConfig
from hanlin.objective.prompt import PromptChoice
from hanlin.tokenizer.bpe import train_bpe
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.saving import save_tokenizer
from hanlin.tokenizer.tokenizer import Tokenizer
from hanlin.tokenizer.wordpiece import train_wordpiece

LINES = [
    "A good film. It was great. It was bad. A very poor one. ",
    "这部电影很好看，总之很好。这部电影很差，总之很糟糕。",
] * 8
RECORDS = [{"text": "A good film."}, {"text": "A very poor one. 这部电影很差"}, {"text": "很好看"}]
LABELS = class_labels([0, 1, 0], 2)


@pytest.fixture(scope="module")
def bpe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prompt-bpe")
    save_tokenizer(train_bpe(LINES, TokenizerConfig(vocab_size=300)), "bpe", folder)
    return Tokenizer.load(folder)


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prompt-bert")
    settings = TokenizerConfig(model="wordpiece", vocab_size=260, on_small="shrink")
    save_tokenizer(train_wordpiece(LINES, settings), "wordpiece", folder)
    return Tokenizer.load(folder)


def causal(bpe, **settings):
    return tiny("llama", vocab_size=bpe.vocab_size, window=64, **settings)


def masked(bert, **settings):
    return tiny("bert", vocab_size=bert.vocab_size, window=64, **settings)


def texts(template, tokenizer, max_length=64, records=RECORDS, labels=LABELS):
    return PromptedTexts(records, labels, template, tokenizer.pad_id, max_length)


def begun(tokenizer):
    return [tokenizer.bos_id] if tokenizer.begins_with_bos else []


@pytest.mark.parametrize("words", [("great", "bad"), ("great", "very poor")])
def test_a_causal_score_is_the_sum_of_the_words_log_probabilities(bpe, words):
    template = Template("{text} It was {word}", words, bpe, masked=False)
    model = causal(bpe)
    batch = every_row(texts(template, bpe))
    plain, normalized = (PromptChoice(n).scores(model, batch).detach() for n in (False, True))
    for number, record in enumerate(RECORDS):
        prompt = [*begun(bpe), *bpe.encode(record["text"]), *bpe.encode(" It was")]
        for k, word in enumerate(words):
            said = bpe.encode(f" {word}")
            log_p = model(torch.tensor([[*prompt, *said]]))[0].detach().log_softmax(-1)
            total = sum(float(log_p[len(prompt) - 1 + place, id]) for place, id in enumerate(said))
            assert float(plain[number, k]) == pytest.approx(total, abs=1e-4)
            assert float(normalized[number, k]) == pytest.approx(total / len(said), abs=1e-4)


@pytest.mark.parametrize("words", [("好", "差"), ("好", "糟糕")])
def test_a_masked_score_hides_the_whole_word(bert, words):
    template = Template("{text}，总之很{word}。", words, bert, masked=True)
    model = masked(bert)
    batch = every_row(texts(template, bert))
    scores = PromptChoice().scores(model, batch).detach()
    hidden = set(words[0] + words[1])
    for number, record in enumerate(RECORDS):
        for k, word in enumerate(words):
            said = bert.encode(word)
            before = [bert.cls_id, *bert.encode(record["text"]), *bert.encode("，总之很")]
            ids = [*before, *[bert.mask_id] * len(said), *bert.encode("。"), bert.sep_id]
            log_p = model(torch.tensor([ids]))[0].detach().log_softmax(-1)
            total = sum(float(log_p[len(before) + place, id]) for place, id in enumerate(said))
            assert float(scores[number, k]) == pytest.approx(total, abs=1e-4)
    # No row holds a word of the verbaliser but where the record does.
    read = bert.decode(batch.tokens_BRT[2].flatten().tolist())
    assert not hidden & set(read.replace("很 好 看", ""))


def test_words_of_one_length_share_a_row(bert, bpe):
    one = every_row(texts(Template("{text}很{word}", ("好", "差"), bert, masked=True), bert))
    two = every_row(texts(Template("{text}很{word}", ("好", "糟糕"), bert, masked=True), bert))
    assert (one.tokens_BRT.shape[1], two.tokens_BRT.shape[1]) == (1, 2)
    assert one.words_BKM.shape == (3, 2, 1)
    assert two.words_BKM[0, 0].tolist()[1:] == [IGNORE]


def test_a_batch_splits_at_records(bert):
    model = masked(bert)
    template = Template("{text}很{word}", ("好", "糟糕"), bert, masked=True)
    batch = every_row(texts(template, bert))
    whole = gradients(model, PromptChoice(), [batch])
    same(whole, gradients(model, PromptChoice(), batch.split(2)))
    same(
        whole, gradients(model, PromptChoice(), [every_row(texts(template, bert), [row]) for row in range(3)])
    )


def test_the_loss_is_over_the_classes(bert):
    model = masked(bert)
    batch = every_row(texts(Template("{text}很{word}", ("好", "差"), bert, masked=True), bert))
    scores = PromptChoice().scores(model, batch).detach()
    expected = -float(scores.log_softmax(1).gather(1, batch.labels_B[:, None]).sum())
    assert float(PromptChoice().loss(model, batch).detach()) == pytest.approx(expected, abs=1e-5)
    right = (scores.argmax(1) == batch.labels_B).float().mean()
    assert examined(model, PromptChoice(), batch)["accuracy"] == pytest.approx(float(right))


def test_long_texts_are_cut_and_the_template_never(bert):
    template = Template("{text}，总之很{word}。", ("好", "糟糕"), bert, masked=True)
    whole, short = texts(template, bert), texts(template, bert, max_length=14)
    assert short.lengths.longest <= 14
    assert (short.lengths.cut_records, short.lengths.cut_tokens) == (1, max(whole.sizes) - max(short.sizes))
    for row in every_row(short).tokens_BRT.flatten(0, 1).tolist():
        assert bert.decode(row).replace(" ", "").endswith("，总之很。")
    pair = Template("{a}。{word}，{b}", ("好", "差"), bert, masked=True)
    filled = pair.fill({"a": "很好看" * 5, "b": "差"}, 12)
    assert bert.decode(filled.rows[0]).replace(" ", "") == "很好看很好看。，差"
    with pytest.raises(ConfigError, match="takes 9 tokens of 7"):
        template.fill(RECORDS[0], 7)


@pytest.mark.parametrize(
    ("source", "words", "message"),
    [
        ("{text} It was", ("a", "b"), "needs {word} once"),
        ("{a}{b}{c}{word}", ("a", "b"), "at most two other slots"),
        ("{text} {word} it was", ("a", "b"), "goes on after"),
        ("{text} {word}", ("good", "good"), "same word"),
        ("{text}{word}", ("good", ""), "''"),
    ],
)
def test_wrong_templates_are_refused(bpe, source, words, message):
    with pytest.raises(ConfigError, match=message):
        Template(source, words, bpe, masked=False)


def test_wrong_uses_are_refused(bpe, bert):
    with pytest.raises(ConfigError, match="'饕' is none"):
        Template("{text}很{word}", ("好", "饕"), bert, masked=True)
    template = Template("{text}很{word}", ("好", "差"), bert, masked=True)
    with pytest.raises(DataError, match="Record #2 has no text 'text'"):
        texts(template, bert, records=[RECORDS[0], {"body": "好"}], labels=LABELS[:2])


def sentiments(count, tokenizer, template, share=0.5):
    draw = np.random.default_rng(0)
    kinds = (np.arange(count) >= share * count).astype(int)
    records = [
        {"text": ("good film. " if kind == 0 else "poor film. ") * int(draw.integers(1, 3))} for kind in kinds
    ]
    return texts(template, tokenizer, records=records, labels=class_labels(kinds.tolist(), 2))


def test_it_learns_through_the_language_models_head(bpe):
    template = Template("{text} It was {word}", ("great", "bad"), bpe, masked=False)
    model = causal(bpe, far=False, layers=1)
    examples = sentiments(24, bpe, template)
    losses = learn(model, PromptChoice(), examples, steps=30, rows=12, rate=1e-2)
    assert losses[0] > 0.5
    assert examined(model, PromptChoice(), every_row(examples))["accuracy"] == 1


@pytest.mark.parametrize("kind", ["causal", "masked"])
def test_of_a_soft_prompt_nothing_but_the_prompt_is_trained(kind, request):
    tokenizer = request.getfixturevalue("bpe" if kind == "causal" else "bert")
    model = (causal if kind == "causal" else masked)(tokenizer, layers=1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    adapters = Adapters(model)
    adapters.add("prompt", PromptConfig(length=4))
    adapters.active = "prompt"
    start = adapters.table("prompt").detach().clone()
    template = Template(
        "{text} It was {word}", ("great", "bad"), tokenizer, masked=kind == "masked", prefix=adapters.prompt_ids("prompt")
    )  # fmt: skip
    examples = sentiments(24, tokenizer, template, share=11 / 12)  # a prompt can teach what is frequent
    if examined(model, PromptChoice(), every_row(examples))["accuracy"] > 0.5:
        examples = sentiments(24, tokenizer, template, share=1 / 12)
    assert every_row(examples).tokens_BRT[:, 0, :4].tolist() == [adapters.prompt_ids("prompt")] * 24
    untaught = examined(model, PromptChoice(), every_row(examples))["loss"]
    learn(model, PromptChoice(), examples, steps=50, rows=12, rate=0.1)
    assert examined(model, PromptChoice(), every_row(examples))["loss"] < 0.85 * untaught
    assert (adapters.table("prompt") - start).abs().max() > 0.1
    adapters.detach()
    after = model.state_dict()
    assert after.keys() == before.keys()
    for name, value in before.items():
        assert torch.equal(after[name], value), name
