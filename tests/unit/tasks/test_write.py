"""Tasks whose answer is written: by an encoder-decoder and by a decoder, trained, shown, or as they are."""

import copy
from dataclasses import replace

import pytest
import torch

from finetuning import every_row, learn
from hanlin.base.errors import ConfigError, DataError
from hanlin.base.records import Question, Written
from hanlin.batches.batch import IGNORE
from hanlin.checkpoint.defaults import GenerationDefaults
from hanlin.model.adapters.adapters import Adapters
from hanlin.model.adapters.config import LoraConfig, PromptConfig
from hanlin.model.assemble import build_model
from hanlin.model.config import CoreConfig
from hanlin.tasks.opened import ADAPTER, Opened
from hanlin.tasks.reply import Reply
from hanlin.tasks.write import Write
from hanlin.tasks.writing import Continued
from hanlin.tokenizer.bpe import save_trained, train_bpe
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.tokenizer import Tokenizer
from tiny import CPU

NAMES = {"red": "rot", "blue": "blau", "green": "gruen", "black": "schwarz"}
THINGS = {"dog": "Hund", "cat": "Katze", "car": "Auto"}
PAIRS = [
    Written(source=f"a {name} {thing}", targets=(f"{nomen} {colour}",))
    for name, colour in NAMES.items()
    for thing, nomen in THINGS.items()
]
TEXT = "Translate the following sentence: Translation: a red dog, Hund rot. 翻译下面的句子：红色的狗 译文：一只狗 formal\n"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    texts = [TEXT, *(text for pair in PAIRS for text in (pair.source, *pair.targets))]
    save_trained(train_bpe(texts * 3, TokenizerConfig(vocab_size=340)), folder)
    return Tokenizer.load(folder)


def opened(tokenizer, style="transformer", seed=0, **settings):
    torch.manual_seed(seed)
    shape = {"vocab_size": tokenizer.vocab_size, "width": 48, "layers": 2, "heads": 4, "window": 96}
    model = build_model(CoreConfig.model_validate({**shape, "style": style, **settings}))
    return Opened("tiny", model.eval(), tokenizer, CPU, GenerationDefaults())


def taught(task, one, steps=150, records=PAIRS, **settings):
    examples = task.examples(one, records)
    return learn(one.model, task.objective(records), examples, steps, rows=12, **settings)


# Encoder-decoders.


def test_an_encoder_decoder_learns_to_translate(tokenizer):
    task, one = Write(kind="rewrite", max_new_tokens=20).begun(PAIRS), opened(tokenizer)
    before = task.measures(PAIRS, task.predict(one, PAIRS))[0]
    losses = taught(task, one)
    said = task.predict(one, PAIRS, title="")
    assert losses[-1] < 0.05 * losses[0]
    assert [prediction.text for prediction in said] == [pair.targets[0] for pair in PAIRS]
    assert all(prediction.ended and prediction.cut == 0 for prediction in said)
    after = task.measures(PAIRS, said)[0]
    assert (after.name, after.value) == ("chrf", pytest.approx(100))
    assert before.value < 50
    assert task.wrongness(PAIRS, said).max() == pytest.approx(0)


def test_its_rows_are_source_and_target_with_its_end(tokenizer):
    one = opened(tokenizer)
    batch = every_row(Write().examples(one, PAIRS[:2]))
    end, start = tokenizer.eos_id, tokenizer.start_id
    for row, pair in enumerate(PAIRS[:2]):
        target = [*tokenizer.encode(pair.targets[0]), end]
        said = batch.targets_BT[row]
        assert said[said != IGNORE].tolist() == target
        assert batch.read_BT[row, : len(target)].tolist() == [start, *target[:-1]]
        source = tokenizer.encode_single(pair.source).ids
        assert batch.source_BS[row, : len(source)].tolist() == source


def test_sources_are_cut_and_counted_and_targets_never(tokenizer):
    one = opened(tokenizer, window=24)
    long = Written(source="a red dog " * 20, targets=("Hund rot",))
    endless = Written(source="a red dog", targets=("Hund rot " * 30,))
    examples = Write().examples(one, [PAIRS[0], long, endless], ["a:1", "a:2", "a:3"])
    assert (len(examples), examples.left_out) == (2, ("a:3",))
    assert (examples.lengths.cut_records, examples.lengths.longest) == (1, 24)
    said = Write(max_new_tokens=5).begun(PAIRS).predict(one, [long])[0]
    assert said.cut == examples.lengths.cut_tokens > 0
    with pytest.raises(DataError, match="No record fits into 24 tokens"):
        Write().examples(one, [endless])


def test_every_target_is_learned(tokenizer):
    record = Written(source="a red dog", targets=("Hund rot", "rot Hund"))
    batch = every_row(Write().examples(opened(tokenizer), [record]))
    assert (batch.rows, torch.equal(batch.source_BS[0], batch.source_BS[1])) == (2, True)
    assert not torch.equal(batch.targets_BT[0], batch.targets_BT[1])


def test_what_cannot_be_learned_is_named(tokenizer):
    one = opened(tokenizer)
    for record in (Written(source="a dog"), Written(source="a dog", targets=(" ",))):
        with pytest.raises(DataError, match="b:7 has nothing that is to be written"):
            Write().examples(one, [record], ["b:7"])
    with pytest.raises(DataError, match="b:7 has no tokens"):
        Write().examples(one, [Written(source="", targets=("Hund",))], ["b:7"])


def test_a_model_that_does_not_write_is_refused(tokenizer):
    with pytest.raises(ConfigError, match="does not write"):
        Write().examples(opened(tokenizer, "bert"), PAIRS)


# Prompts.


def prompt_of(task, one, record):
    """What a decoder reads before its answer, as text."""
    batch = every_row(task.examples(one, [record]))
    ids, targets = batch.tokens_BT[0].tolist(), batch.targets_BT[0].tolist()
    first = next(place for place, target in enumerate(targets) if target != IGNORE)
    return one.tokenizer.decode(ids[: first + 1]), one.tokenizer.decode(
        [target for target in targets if target != IGNORE], skip_special=False
    )


def test_a_decoder_is_asked_in_the_language_of_the_records(tokenizer):
    one = opened(tokenizer, "llama")
    plain = Write(chat=False)
    assert prompt_of(plain.begun(PAIRS), one, PAIRS[0]) == (
        "Translate the following sentence: a red dog\nTranslation:",
        " Hund rot<|endoftext|>",
    )
    chinese = Written(source="红色的狗", targets=("一只狗",))
    assert prompt_of(plain.begun([chinese]), one, chinese) == (
        "翻译下面的句子：红色的狗\n译文：",
        "一只狗<|endoftext|>",
    )
    named = Write(chat=False, languages=("English", "French")).begun(PAIRS)
    assert prompt_of(named, one, PAIRS[0])[0] == (
        "Translate the following sentence from English to French: a red dog\nFrench:"
    )
    with pytest.raises(ValueError, match="languages are those of kind translate"):
        Write(kind="summarize", languages=("English", "French"))


def test_a_prompt_of_ones_own(tokenizer):
    one = opened(tokenizer, "llama")
    prompt = "Translate the following sentence from English to French: {source}"
    asked = prompt_of(Write(chat=False, prompt=prompt).begun(PAIRS), one, PAIRS[0])
    assert asked[0] == "Translate the following sentence from English to French: a red dog"
    with pytest.raises(DataError, match=r"asks for \{sauce\}, which record #1 does not have"):
        Write(chat=False, prompt="{sauce}").examples(one, PAIRS)


def test_what_is_asked_for_beside_stands_before_the_source_or_in_its_place(tokenizer):
    one = opened(tokenizer, "llama")
    record = Written(source="a red dog", targets=("Hund",), control={"style": "formal"})
    bare = Write(chat=False, prompt="{source} =").begun(PAIRS)
    assert prompt_of(bare, one, record)[0] == "[style: formal] a red dog ="
    placed = Write(chat=False, prompt="{style}: {source}").begun(PAIRS)
    assert prompt_of(placed, one, record)[0] == "formal: a red dog"
    batch = every_row(Write().examples(opened(tokenizer), [record]))
    assert tokenizer.decode(batch.source_BS[0].tolist()) == "[style: formal] a red dog"


def test_as_a_turn_of_a_conversation_the_answer_and_its_end_are_learned(tokenizer):
    one = opened(tokenizer, "llama")
    asked, answer = prompt_of(Write().begun(PAIRS), one, PAIRS[0])
    assert asked.startswith("user\nTranslate the following sentence: a red dog\nTranslation:")
    assert answer == "Hund rot<|im_end|>"


def test_of_a_long_source_the_end_is_cut_and_the_question_stays(tokenizer):
    one = opened(tokenizer, "llama", window=96)
    long = Written(source="a red dog " * 60, targets=("Hund rot",))
    for chat in (True, False):
        task = Write(chat=chat, max_new_tokens=8, max_tokens=64).begun(PAIRS)
        examples = task.examples(one, [long])
        asked, answer = prompt_of(task, one, long)
        assert "Translation:" in asked
        assert "Hund rot" in answer
        assert examples.sizes[0] <= 64
        assert examples.lengths.cut_tokens > 100
        assert task.predict(one, [long])[0].cut > examples.lengths.cut_tokens
    task = Write(chat=False, max_new_tokens=8, prompt="Translate " * 100 + "{source}").begun(PAIRS)
    with pytest.raises(ConfigError, match="leaves no room for its text"):
        task.predict(one, [long])


# Decoders.


@pytest.fixture(scope="module")
def translator(tokenizer):
    """A decoder that has learned all pairs."""
    one, task = opened(tokenizer, "llama"), Write(max_new_tokens=20, chat=False).begun(PAIRS)
    losses = taught(task, one, steps=110)
    assert losses[-1] < losses[0] / 20
    return one, task


def test_a_decoder_learns_to_translate(translator):
    one, task = translator
    said = task.predict(one, PAIRS)
    assert [prediction.text for prediction in said] == [pair.targets[0] for pair in PAIRS]
    assert all(prediction.ended for prediction in said)


@pytest.mark.parametrize(("method", "adapter", "rate"), [
    ("lora", LoraConfig(rank=4), 1e-2),
    ("prompt-tuning", PromptConfig(length=8), 0.1),
])  # fmt: skip
def test_an_adapter_learns_to_write_and_the_model_below_stays(translator, method, adapter, rate):
    base, task = translator
    one = replace(base, model=copy.deepcopy(base.model))
    adapters = Adapters(one.model)
    adapters.add(ADAPTER, adapter)
    adapters.active = ADAPTER
    one = replace(one, adapters=adapters)
    records = [pair.model_copy(update={"targets": ("Auto",)}) for pair in PAIRS[:6]]
    changed = task.model_copy(update={"method": method})
    taught(changed, one, steps=40, records=records, rate=rate)
    assert all(prediction.text.startswith("Auto") for prediction in changed.predict(one, records))
    adapters.active = None
    below = task.predict(replace(one, adapters=None), PAIRS)
    assert [prediction.text for prediction in below] == [pair.targets[0] for pair in PAIRS]


def test_what_a_decoder_learns_first_it_says_first(tokenizer):
    """Prediction asks by exactly the ids that training put before the answer."""
    one, asked = opened(tokenizer, "llama"), []
    one.model.embed.token.register_forward_pre_hook(
        lambda _, given: asked.append(given[0].flatten().tolist())
    )
    for task in (Write(chat=True), Write(chat=False), Write(chat=False, method="few-shot", shots=2)):
        task = task.begun(PAIRS).model_copy(update={"max_new_tokens": 1})
        task.predict(one, PAIRS[:1])
        batch = every_row(task.examples(one, PAIRS[:1]))
        first = (batch.targets_BT[0] != IGNORE).nonzero()[0, 0]
        assert asked.pop() == batch.tokens_BT[0, : first + 1].tolist()


def test_shots_stand_before_the_question(tokenizer):
    one = opened(tokenizer, "llama", window=256)
    task = Write(method="few-shot", shots=2, chat=False).begun(PAIRS)
    assert len(task.shown) == 2
    assert all(record in PAIRS for record in task.shown)
    assert task.begun(PAIRS) == task
    again = Write.model_validate_json(task.model_dump_json())
    assert again == task
    asked, _ = prompt_of(task, one, PAIRS[0])
    first, _, last = asked.split("\n\n")
    assert (
        first
        == f"Translate the following sentence: {task.shown[0].source}\nTranslation: {task.shown[0].targets[0]}"
    )
    assert last.endswith("Translation:")
    turns = prompt_of(task.model_copy(update={"chat": True}), one, PAIRS[0])[0]
    assert turns.count("assistant\n") == 3
    assert f"assistant\n{task.shown[1].targets[0]}" in turns
    other = Write(method="few-shot", shots=2, shots_seed=1).begun(PAIRS)
    assert other.shown != task.shown
    with pytest.raises(DataError, match="there are none"):
        Write(method="few-shot").begun([Written(source="a")])
    assert not task.is_trained


def test_without_training_a_plain_answer_ends_at_an_empty_line(tokenizer):
    one = opened(tokenizer, "llama")
    newline = tokenizer.encode("\n\n")
    task = Write(method="zero-shot", chat=False, max_new_tokens=6).begun(PAIRS)
    only = torch.nn.functional.one_hot(torch.tensor(newline[-1]), tokenizer.vocab_size).float()
    one.model.head.register_forward_hook(lambda _, given, logits: only.expand_as(logits))
    (said,) = task.predict(one, PAIRS[:1])
    assert said == Continued(text="", ended=True)


def test_in_lower_case_all_is_read_written_and_compared(tokenizer):
    task = Write(lowercase=True)
    record = Written(source="A Dog", targets=("Hund ROT",))
    assert list(task.texts([record])) == ["a dog", "hund rot"]
    batch = every_row(task.examples(opened(tokenizer), [record]))
    assert tokenizer.decode(batch.source_BS[0].tolist()) == "a dog"
    said = [Continued(text="hund rot", ended=True)]
    assert {one.name: one.value for one in task.measures([record], said)}["chrf"] == pytest.approx(100)
    upper = {one.name: one.value for one in Write().measures([record], said)}
    assert upper["chrf"] < 100


def test_the_first_figure_is_that_of_the_kind():
    records = [
        Written(source="a", targets=("the cat sat on the mat",)),
        Written(source="b", targets=("one two three",)),
    ]
    said = [
        Continued(text="the cat sat on the mat", ended=True),
        Continued(text="nothing like it", ended=True),
    ]
    for kind, name in (("translate", "bleu"), ("summarize", "rougeL"), ("rewrite", "chrf")):
        task = Write(kind=kind)
        assert task.measures(records, said)[0].name == name
        wrong = task.wrongness(records, said)
        assert wrong[0] == pytest.approx(0)
        assert wrong[1] > 0.7
        assert task.said(said[0]) == "the cat sat on the mat"


# Replies.


def test_replies_are_asked_with_the_context_if_there_is_one(tokenizer):
    one = opened(tokenizer, "llama", window=128)
    bare = Question(question="a dog?", answers=("Hund",))
    task = Reply(chat=False).begun([bare])
    assert prompt_of(task, one, bare) == ("Question: a dog?\nAnswer:", " Hund<|endoftext|>")
    told = Question(question="a dog?", context="a red dog " * 40, answers=("Hund", "Hund rot", "Hund"))
    asked, _ = prompt_of(task, one, told.model_copy(update={"answers": ("Hund",)}))
    assert asked.startswith("a red dog a red")
    assert asked.endswith("\n\nQuestion: a dog?\nAnswer:")
    assert task.answers_of(told) == ("Hund", "Hund rot")
    chosen = Question(question="which?", choices=("rot", "blau"), right=1)
    assert task.answers_of(chosen) == ("blau",)
    chinese = Question(question="红色的是什么？", answers=("狗",))
    assert prompt_of(Reply(chat=False).begun([chinese]), one, chinese) == (
        "问题：红色的是什么？\n答案：",
        "狗<|endoftext|>",
    )


def test_replies_are_compared_with_the_best_of_the_right_answers():
    records = [
        Question(question="?", answers=("a red dog", "dog")),
        Question(question="?", answers=("blue",)),
    ]
    said = [Continued(text="the dog", ended=True), Continued(text="green", ended=True)]
    figures = {one.name: one.value for one in Reply().measures(records, said)}
    assert (figures["exact_match"], figures["f1"]) == (0.5, 0.5)
    assert Reply().wrongness(records, said).tolist() == [0, 1]
