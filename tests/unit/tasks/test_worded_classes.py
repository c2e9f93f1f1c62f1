"""Classes by words: likelihoods by hand, shown records, calibration, conversations, training, and what is refused."""

from collections import Counter

import numpy as np
import pytest
import torch

from finetuning import every_row, learn, tiny
from hanlin.base.errors import ConfigError, DataError
from hanlin.base.records import Labelled, Message
from hanlin.checkpoint.defaults import GenerationDefaults
from hanlin.model.adapters.adapters import Adapters
from hanlin.model.adapters.config import PromptConfig
from hanlin.objective.prompt import PromptChoice
from hanlin.tasks.classify import Classify
from hanlin.tasks.opened import ADAPTER, Opened
from hanlin.tasks.worded import CONTENT_FREE, draw_shots
from hanlin.tokenizer.bpe import train_bpe
from hanlin.tokenizer.chat import ChatTemplate
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.saving import save_tokenizer
from hanlin.tokenizer.tokenizer import Tokenizer
from hanlin.tokenizer.wordpiece import train_wordpiece
from tiny import CPU

LINES = [
    "Classify the text as bad or good. Text: A good film. Class: good",
    "Say how the two texts relate: bad or good. First text: a Second text: b Relation: very bad user assistant",
    "判断文本的类别：好、差。文本：这部电影很好看 类别：好 这本书很差",
] * 8
RECORDS = [
    Labelled(text=text, labels=(label,))
    for text, label in (
        ("a good film", "good"), ("good book", "good"), ("so good a film that I saw it twice", "good"), ("good", "good"),
        ("a bad film", "bad"), ("bad book", "bad"), ("so bad a film that I left after an hour", "bad"), ("bad", "bad"),
    )
]  # fmt: skip
TEMPLATE = "Text: {text} Class: {word}"


@pytest.fixture(scope="module")
def bpe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("worded-bpe")
    save_tokenizer(train_bpe(LINES, TokenizerConfig(vocab_size=330)), "bpe", folder)
    return Tokenizer.load(folder)


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    folder = tmp_path_factory.mktemp("worded-bert")
    settings = TokenizerConfig(model="wordpiece", vocab_size=260, on_small="shrink")
    save_tokenizer(train_wordpiece(LINES, settings), "wordpiece", folder)
    return Tokenizer.load(folder)


def opened(tokenizer, style="llama", far=True, **settings):
    model = tiny(style, far=far, vocab_size=tokenizer.vocab_size, window=256, **settings)
    return Opened("tiny", model, tokenizer, CPU, GenerationDefaults())


def log_p(model, prompt, said):
    """log P of some ids after others."""
    with torch.no_grad():
        scores = model(torch.tensor([[*prompt, *said]]))[0].log_softmax(-1)
    return sum(float(scores[len(prompt) - 1 + place, id]) for place, id in enumerate(said))


def begun_with(tokenizer):
    return [tokenizer.bos_id] if tokenizer.begins_with_bos else []


def rows_of(task, one, record):
    return task.examples(one, [record]).batch(np.array([0]), [(0, 0, 0)])


def test_zero_shot_is_the_likelihood_of_the_words(bpe):
    task = Classify(method="zero-shot", template=TEMPLATE, words={"good": "very good"}).begun(RECORDS)
    assert task.words == {"bad": "bad", "good": "very good"}
    one = opened(bpe)
    (said,) = task.predict(one, [RECORDS[2]])
    prompt = [
        *begun_with(bpe),
        *bpe.encode("Text:"),
        *bpe.encode(" " + RECORDS[2].text),
        *bpe.encode(" Class:"),
    ]
    by_hand = torch.tensor([log_p(one.model, prompt, bpe.encode(word)) for word in (" bad", " very good")])
    assert list(said.probabilities.values()) == pytest.approx(by_hand.softmax(0).tolist(), abs=1e-4)
    assert not task.is_trained
    assert task.calibrated(one, RECORDS) == task


def test_few_shot_shows_records_of_each_class_before_every_prompt(bpe):
    settings = {"method": "few-shot", "template": TEMPLATE, "shots": 4}
    task = Classify.model_validate({**settings, "shots_seed": 1}).begun(RECORDS)
    assert Counter(record.labels[0] for record in task.shown) == {"good": 2, "bad": 2}
    assert all(len(record.text) < 15 for record in task.shown)
    assert task == Classify.model_validate_json(task.model_dump_json()).begun(RECORDS[:2])
    orders = {
        Classify.model_validate({**settings, "shots_seed": seed}).begun(RECORDS).shown for seed in range(5)
    }
    assert len(orders) > 1
    before = "".join(f"Text: {record.text} Class: {record.labels[0]}\n\n" for record in task.shown)
    tokens = rows_of(task, opened(bpe), RECORDS[0]).tokens_BRT[0, 0].tolist()
    assert bpe.decode(tokens) == before + "Text: a good film Class:"
    assert tokens[: len(begun_with(bpe))] == begun_with(bpe)


@pytest.mark.parametrize("words", [{}, {"good": "very good", "bad": "very very bad"}])
def test_what_all_prompts_begin_with_is_read_once(bpe, words):
    task = Classify(method="few-shot", template=TEMPLATE, shots=4, words=words).begun(RECORDS)
    one = opened(bpe)
    examples = task.examples(one, RECORDS)
    shown = bpe.decode(examples.shared)
    assert shown.count("Class:") == 4
    assert shown.endswith("Text:")
    whole = every_row(examples)
    by_hand = PromptChoice().scores(one.model, whole).detach().softmax(1)
    assert every_row(examples.after(len(examples.shared))).tokens_BRT.shape[2] < whole.tokens_BRT.shape[2] / 2
    for record, said, expected in zip(RECORDS, task.predict(one, RECORDS), by_hand, strict=True):
        assert list(said.probabilities.values()) == pytest.approx(expected.tolist(), abs=1e-5)
        assert task.predict(one, [record])[0].probability == pytest.approx(said.probability, abs=1e-5)


def test_shots_take_turns_of_all_classes_even_of_rare_ones():
    records = [Labelled(text=f"{'x' * n}", labels=("often",)) for n in range(1, 20)] + [
        Labelled(text="y", labels=("rare",))
    ]
    assert Counter(one.labels[0] for one in draw_shots(records, ["often", "rare"], 6, 0)) == {
        "often": 5,
        "rare": 1,
    }
    assert len(draw_shots(records[:3], ["often", "rare"], 6, 0)) == 2


def test_a_masked_model_sees_shown_records_too(bert):
    task = Classify(method="few-shot", template="{text} 类别：{word}。", shots=2).begun(RECORDS)
    tokens = rows_of(task, opened(bert, "bert"), RECORDS[0]).tokens_BRT[0, 0].tolist()
    text = bert.decode(tokens)
    assert all(
        bert.decode(bert.encode(f"{record.text} 类别：{record.labels[0]}")) in text for record in task.shown
    )
    assert tokens.count(bert.mask_id) == 1
    assert tokens.count(bert.sep_id) == 1


def test_calibration_takes_out_what_the_model_likes_anyway(bpe):
    plain = Classify(method="zero-shot", template=TEMPLATE).begun(RECORDS)
    task, one = plain.model_copy(update={"calibrate": True}), opened(bpe)
    free = [Labelled(text=text) for text in CONTENT_FREE]
    prior = np.mean([list(said.probabilities.values()) for said in plain.predict(one, free)], axis=0)
    for record, said in zip(RECORDS, task.predict(one, RECORDS), strict=True):
        (before,) = plain.predict(one, [record])
        odds = np.array(list(before.probabilities.values())) / prior
        assert list(said.probabilities.values()) == pytest.approx((odds / odds.sum()).tolist(), abs=1e-4)


def test_a_conversation_is_answered_by_the_words(bpe):
    task = Classify(method="few-shot", template=TEMPLATE, shots=2, chat=True).begun(RECORDS)
    one = opened(bpe)
    said = task.predict(one, RECORDS[:1])[0]
    turns = [
        Message(role=role, content=text)
        for record in task.shown
        for role, text in (("user", f"Text: {record.text} Class:"), ("assistant", record.labels[0]))
    ]
    asked = [*turns, Message(role="user", content=f"Text: {RECORDS[0].text} Class:")]
    prompt = ChatTemplate(bpe).render(asked, add_generation_prompt=True).ids
    by_hand = torch.tensor(
        [log_p(one.model, prompt, bpe.encode_inside(word, False)) for word in ("bad", "good")]
    )
    assert list(said.probabilities.values()) == pytest.approx(by_hand.softmax(0).tolist(), abs=1e-4)

    long = Labelled(text=" ".join(["good"] * 200), labels=("good",))
    short = task.model_copy(update={"max_tokens": len(prompt) + 5})
    batch = rows_of(short, one, long)
    assert batch.tokens_BRT.shape[2] <= len(prompt) + 5
    assert short.predict(one, [long])[0].cut > 100
    with pytest.raises(ConfigError, match="alone takes"):
        task.model_copy(update={"max_tokens": 20}).predict(one, [long])


@pytest.mark.parametrize(("style", "kind"), [("llama", "bpe"), ("bert", "bert")])
def test_a_verbalizer_learns(style, kind, request):
    tokenizer = request.getfixturevalue(kind)
    task = Classify(method="verbalizer", template="{text} {word}").begun(RECORDS)
    one = opened(tokenizer, style, far=False)
    learn(one.model, task.objective(RECORDS), task.examples(one, RECORDS), 30, rows=8, rate=1e-2)
    said = task.predict(one, RECORDS)
    assert [measure.value for measure in task.measures(RECORDS, said) if measure.name == "accuracy"] == [1]
    assert task.calibrated(one, RECORDS).temperature != 1


def test_prompt_tuning_changes_only_the_soft_prompt_which_stands_before_all(bpe):
    task = Classify(method="prompt-tuning", template="{text} {word}").begun(RECORDS)
    plain = opened(bpe)
    before = {name: weight.clone() for name, weight in plain.model.named_parameters()}
    adapters = Adapters(plain.model)
    adapters.add(ADAPTER, PromptConfig(length=6))
    adapters.active = ADAPTER
    one = Opened("tiny", plain.model, bpe, CPU, GenerationDefaults(), adapters)
    assert rows_of(task, one, RECORDS[0]).tokens_BRT[0, 0, :6].tolist() == one.prefix
    full = rows_of(task, one, Labelled(text=" ".join(["good"] * 400), labels=("good",)))
    assert full.tokens_BRT.shape[2] == 256
    losses = learn(one.model, task.objective(RECORDS), task.examples(one, RECORDS), 40, rows=8, rate=0.1)
    assert losses[-1] < losses[0] - 0.05
    after = dict(one.model.named_parameters())
    assert all(torch.equal(weight, after[name]) for name, weight in before.items() if name in after)
    assert len(task.predict(one, RECORDS)) == 8


def test_the_default_template_speaks_the_language_of_the_records():
    english = Classify(method="zero-shot").begun(RECORDS).template
    assert english == "Classify the text as bad or good.\nText: {text}\nClass: {word}"
    chinese = [Labelled(text="这部电影很好看", labels=("好",)), Labelled(text="这本书很差", labels=("差",))]
    assert (
        Classify(method="zero-shot").begun(chinese).template
        == "判断文本的类别：好、差。\n文本：{text}\n类别：{word}"
    )
    pairs = [record.model_copy(update={"pair": record.text}) for record in chinese]
    assert (
        Classify(method="zero-shot")
        .begun(pairs)
        .template.endswith("文本一：{text}\n文本二：{pair}\n关系：{word}")
    )


def test_what_cannot_be_asked_is_refused(bpe):
    numbered = [Labelled(text="a", labels=("0",)), Labelled(text="b", labels=("1",))]
    with pytest.raises(ConfigError, match=r"0, 1 are no words.*\n.*task\.words="):
        Classify(method="zero-shot").begun(numbered)
    assert Classify.model_validate({"method": "zero-shot", "words": {0: "bad", 1: "good"}}).begun(numbered).words == {
        "0": "bad", "1": "good",
    }  # fmt: skip
    with pytest.raises(ConfigError, match=r"task\.words has fine"):
        Classify(method="zero-shot", words={"fine": "fine"}).begun(RECORDS)
    pairs = [record.model_copy(update={"pair": "b"}) for record in RECORDS]
    for template, records in (
        (TEMPLATE, pairs),
        ("{text} {pair} {word}", RECORDS),
        ("{sentence} {word}", RECORDS),
    ):
        with pytest.raises(ConfigError, match="slots"):
            Classify(method="zero-shot", template=template).begun(records)
    task = Classify(method="zero-shot", template=TEMPLATE).begun(RECORDS)
    headless = opened(bpe, head="classify", label_names=("a", "b"))
    with pytest.raises(ConfigError, match="no output over words"):
        task.predict(headless, RECORDS)
    strict = task.model_copy(update={"too_long": "refuse", "max_tokens": 12})
    with pytest.raises(DataError, match="longer than 12 tokens: #2"):
        strict.predict(opened(bpe), [Labelled(text="a"), Labelled(text="a good film " * 9)])
