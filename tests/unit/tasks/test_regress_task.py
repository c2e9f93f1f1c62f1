"""Numbers of texts: learned in their own scale whatever it is, within bounds, and refused where they cannot be learned."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from finetuning import every_row, learn, tiny
from hanlin.base.errors import DataError
from hanlin.base.records import Scored
from hanlin.checkpoint.defaults import GenerationDefaults
from hanlin.model.rehead import with_head
from hanlin.tasks.opened import Opened
from hanlin.tasks.regress import Regress
from hanlin.tokenizer.bpe import train_bpe
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.saving import save_tokenizer
from hanlin.tokenizer.tokenizer import Tokenizer
from tiny import CPU, scatter

WORDS = ("awful", "bad", "fair", "good", "great")
RECORDS = [
    Scored(text=f"{noun} was {word}", score=1000.0 + 10 * grade)
    for grade, word in enumerate(WORDS)
    for noun in ("it", "this", "that")
]
PAIRS = [
    Scored(text="a good film", pair="a great film", score=4.0),
    Scored(text="a bad film", pair="很差", score=0.0),
]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("regress-bpe")
    lines = [record.text for record in RECORDS] * 4
    save_tokenizer(train_bpe(lines, TokenizerConfig(vocab_size=280)), "bpe", folder)
    return Tokenizer.load(folder)


def opened_for(task, tokenizer, style="llama"):
    torch.manual_seed(0)
    body = tiny(style, far=False, vocab_size=tokenizer.vocab_size, window=32)
    return Opened("tiny", with_head(body, **task.head())[0], tokenizer, CPU, GenerationDefaults())


@pytest.mark.parametrize("style", ["llama", "bert"])
def test_numbers_far_from_nought_are_learned_in_their_own_scale(tokenizer, style):
    task = Regress().begun(RECORDS)
    assert (task.mean, task.deviation) == (pytest.approx(1020), pytest.approx(200**0.5))
    opened = opened_for(task, tokenizer, style)
    examples = task.examples(opened, RECORDS)
    labels = every_row(examples).labels
    assert float(labels.mean()) == pytest.approx(0, abs=1e-5)
    assert float(labels.std(unbiased=False)) == pytest.approx(1, abs=1e-5)
    learn(opened.model, task.objective(RECORDS), examples, 60, rows=15, rate=1e-2)
    said = task.predict(opened, RECORDS)
    assert np.abs([one.score - record.score for one, record in zip(said, RECORDS, strict=True)]).max() < 5
    measures = {measure.name: measure.value for measure in task.measures(RECORDS, said)}
    assert next(iter(measures)) == "spearman"
    assert measures["spearman"] > 0.95
    assert measures["mae"] == pytest.approx(task.wrongness(RECORDS, said).mean())
    again = Regress.model_validate_json(task.model_dump_json())
    assert again.predict(opened, RECORDS) == said


def test_nothing_is_said_beyond_the_bounds(tokenizer):
    task = Regress(low=1000, high=1040).begun(RECORDS)
    far = task.model_copy(update={"deviation": 1e6})
    opened = opened_for(task, tokenizer)
    scatter(opened.model)
    said = {one.score for one in far.predict(opened, RECORDS)}
    assert said <= {1000, 1040}
    with pytest.raises(DataError, match=r"a\.csv:3 has the number 1050.*out of bounds"):
        task.examples(opened, [RECORDS[0], Scored(text="x", score=1050)], ["a.csv:2", "a.csv:3"])
    with pytest.raises(ValidationError, match="not below"):
        Regress(low=2, high=1)


def test_pairs_and_long_texts(tokenizer):
    task = Regress(max_tokens=12, too_long="windows").begun(PAIRS)
    opened = opened_for(task, tokenizer)
    scatter(opened.model)
    long = Scored(text="it was good " * 10)
    said = [
        *task.model_copy(update={"max_tokens": None}).predict(opened, PAIRS[:1]),
        *task.predict(opened, [long]),
    ]
    assert [one.cut for one in said] == [0, 0]
    cut = task.model_copy(update={"too_long": "truncate"}).predict(opened, [long])[0]
    ids = tokenizer.encode(long.text)
    assert cut.cut == len(ids) + len(tokenizer.encode_single("").ids) - 12
    assert cut.score != said[1].score
    assert task.predict(opened, []) == []


def test_what_cannot_be_learned_is_refused():
    with pytest.raises(DataError, match="all have the number 3"):
        Regress().begun([Scored(text="a", score=3), Scored(text="b", score=3)])
    with pytest.raises(DataError, match=r"b\.csv:2 has no number"):
        Regress().begun([Scored(text="a")], ["b.csv:2"])
    with pytest.raises(DataError, match="#2 has the target inf"):
        Regress().begun([Scored(text="a", score=1), Scored(text="b", score=float("inf"))])
