"""Matching texts: bi-encoder and cross-encoder, from their records to their figures and folders."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from finetuning import every_row, learn
from hanlin.base.errors import DataError
from hanlin.base.records import Matched
from hanlin.checkpoint.defaults import GenerationDefaults
from hanlin.checkpoint.folder import save_model
from hanlin.checkpoint.sentence import SentenceSettings, read_sentence_settings, sentence_texts
from hanlin.evaluate.ranked import ranking_measures
from hanlin.generate.embedding import load_encoder
from hanlin.model.adapters.config import LoraConfig, PromptConfig
from hanlin.model.assemble import build_model
from hanlin.model.config import CoreConfig
from hanlin.objective.contrastive import copies
from hanlin.records.loaded import Loaded
from hanlin.records.retrieval import Retrieval
from hanlin.tasks.baselines import baselines
from hanlin.tasks.begin import adapted
from hanlin.tasks.look import seen_rows
from hanlin.tasks.match import Match
from hanlin.tasks.opened import Opened
from hanlin.tasks.ranked import ranked_by_words
from hanlin.tasks.rerank import Rerank
from hanlin.tasks.retrieval import examine_search, search_by_vectors
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.saving import save_tokenizer
from hanlin.tokenizer.tokenizer import Tokenizer
from hanlin.tokenizer.wordpiece import train_wordpiece
from tiny import CPU

THINGS = [("cat", "meows"), ("dog", "barks"), ("cow", "moos"), ("猫", "喵"), ("狗", "汪"), ("牛", "哞")]
SEARCHES = [Matched(query=f"{word} who {word}", found=(f"it {sound} {sound}",)) for word, sound in THINGS]
PAIRS = [
    *(Matched(query=one.query, found=one.found) for one in SEARCHES),
    *(Matched(query=one.query, hard_negatives=two.found) for one, two in pairwise(SEARCHES)),
]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    lines = [f"{one.query} {one.found[0]}" for one in SEARCHES] * 9
    folder = tmp_path_factory.mktemp("wordpiece")
    config = TokenizerConfig(model="wordpiece", vocab_size=260, on_small="shrink")
    save_tokenizer(train_wordpiece(lines, config), "wordpiece", folder)
    return Tokenizer.load(folder)


@pytest.fixture
def begun(tokenizer):
    """A task with a tiny encoder that has its head."""

    def of(task, **settings):
        torch.manual_seed(1)
        shape = {
            "style": "bert",
            "vocab_size": tokenizer.vocab_size,
            "width": 16,
            "layers": 1,
            "heads": 2,
            "window": 32,
        }
        model = build_model(CoreConfig.model_validate({**shape, "head": "masked", **settings})).eval()
        opened = Opened("tiny", model, tokenizer, CPU, GenerationDefaults())
        opened, _ = adapted(opened, task, LoraConfig(), PromptConfig())
        opened.model.eval()
        return opened

    return of


def figures(task, opened, records):
    return {one.name: one.value for one in task.measures(records, task.predict(opened, records))}


def test_a_search_is_learned(begun):
    task = Match().begun(SEARCHES)
    opened = begun(task)
    before = figures(task, opened, SEARCHES)["ndcg@10"]
    examples = task.examples(opened, SEARCHES)
    learn(opened.model, task.objective(SEARCHES), examples, 60, rows=6, rate=1e-2)
    said = task.predict(opened, SEARCHES)
    assert figures(task, opened, SEARCHES)["ndcg@10"] == 1 > before
    assert [one.ranked[0] for one in said] == [one.found[0] for one in SEARCHES]
    assert len(said[0].ranked) == 6
    assert np.linalg.norm(said[0].vector) == pytest.approx(1, abs=1e-5)
    assert not task.wrongness(SEARCHES, said).any()


def test_labelled_pairs_are_judged_by_the_cosine(begun):
    task = Match(method="zero-shot").begun(PAIRS)
    opened = begun(task)
    said = task.predict(opened, PAIRS)
    vectors = {one.query: np.array(prediction.vector) for one, prediction in zip(PAIRS, said, strict=True)}
    again = task.predict(opened, [Matched(query=PAIRS[0].found[0])])[0]
    assert said[0].scores == pytest.approx([vectors[PAIRS[0].query] @ np.array(again.vector)], abs=1e-6)
    assert said[0].ranked == ()
    truth = np.array([bool(one.found) for one in PAIRS], float)
    names = [measure.name for measure in task.measures(PAIRS, said)]
    assert names == ["spearman", "pearson"]
    expected = np.corrcoef(truth, [one.scores[0] for one in said])[0, 1]
    assert task.measures(PAIRS, said)[1].value == pytest.approx(expected)
    wrong = task.wrongness(PAIRS, said)
    assert wrong[0] == pytest.approx(abs(1 - said[0].scores[0]), abs=1e-6)
    assert wrong[-1] == pytest.approx(min(1, abs(said[-1].scores[0])), abs=1e-6)


def test_rows_of_records(begun, tokenizer):
    """Several texts to find, hard negatives, and none of either."""
    records = [
        Matched(query="cat", found=("meows", "it meows"), hard_negatives=("barks", "moos", "汪")),
        Matched(query="dog", found=("barks",)),
        Matched(query="猫"),
    ]
    task = Match()
    batch = every_row(task.examples(begun(task), records))
    ids = {text: number for number, text in enumerate(["cat", "dog", "猫", "meows", "it meows", "barks"])}
    assert batch.rows == 3 + 1 + 1
    assert batch.texts_B3[:3, 0].tolist() == [ids["cat"]] * 3
    assert batch.texts_B3[0, 1] == batch.texts_B3[2, 1] != batch.texts_B3[1, 1]
    assert len(set(batch.texts_B3[:3, 2].tolist())) == 3
    own = copies(batch.texts_B3)[:, 5:]
    assert own.diagonal().tolist() == [
        False,
        False,
        False,
        True,
        True,
    ]  # who has no negative is none to itself
    assert not own[0, 4]
    alone = every_row(task.examples(begun(task), [Matched(query="cat"), Matched(query="dog")]))
    assert alone.negative is None
    assert (alone.texts_B3[:, 0] == alone.texts_B3[:, 1]).all()


def test_words_are_the_baseline_of_a_search():
    records = [Matched(query="cat", found=("it meows",)), Matched(query="barks", found=("it barks",))]
    loaded = Loaded(records, ["", ""], [{}, {}])
    (beside,) = baselines(Match(), loaded, loaded, resamples=100)
    assert beside.name == "BM25"
    assert beside.figures[0].value == 1  # of equal scores the first comes first, and it is the cat's
    assert ranked_by_words(records)[1].ranked == ("it barks", "it meows")
    assert ranked_by_words(records)[1].scores[0] > 0


def test_what_the_model_sees_of_a_pair(begun):
    task = Match()
    opened = begun(task)
    (row,) = seen_rows(task.examples(opened, SEARCHES), [1], opened.tokenizer, opened.headed.config)
    assert [one.text for one in row.tokens][1:-1] == ["dog", "who", "dog"]
    assert "it barks barks" in row.target


def test_texts_alone_are_told_apart(begun):
    """SimCSE: with dropout the accuracy of finding one's own other view is a figure of the objective."""
    records = [Matched(query=one.query) for one in SEARCHES]
    task = Match().begun(records)
    opened = begun(task, dropout=0.1)
    losses = learn(
        opened.model, task.objective(records), task.examples(opened, records), 30, rows=6, rate=1e-2
    )
    assert losses[-1] < losses[0]


def test_the_folder_embeds_as_the_task_does(begun, tmp_path):
    task = Match(prompt="it ", lowercase=True, pooling="first", max_tokens=12)
    opened = begun(task)
    save_model(
        tmp_path / "m", opened.model, opened.tokenizer, opened.defaults, {}, {}, texts=task.files(opened)
    )
    encoder = load_encoder(tmp_path / "m", "cpu")
    assert encoder.settings[:5] == ("first", True, 12, True, "it ")
    texts = [one.query for one in SEARCHES]
    vectors = [one.vector for one in task.predict(opened, [Matched(query=text) for text in texts])]
    np.testing.assert_allclose(encoder.embed(texts).vectors_NC, vectors, atol=1e-6)
    assert Match().suited(tmp_path / "m") == Match(
        prompt="it ", lowercase=True, pooling="first", max_tokens=12
    )
    assert Match(pooling="last", prompt="").suited(tmp_path / "m").pooling == "last"


@pytest.mark.parametrize("pooling", ["first", "mean", "last"])
@pytest.mark.parametrize("normalize", [True, False])
def test_sentence_settings_come_back(tmp_path, pooling, normalize):
    settings = SentenceSettings(pooling, normalize, 20)
    for name, text in sentence_texts(settings, 16).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert read_sentence_settings(tmp_path, 512)[:5] == settings[:5]


def test_candidates_are_put_in_order(begun):
    """The cross-encoder learns which of a query's own candidates is right; here those that say so themselves."""
    records = [
        Matched(query=one.query, found=(f"it {one.query}",), hard_negatives=(f"who {one.query}",))
        for one in SEARCHES
    ]
    task = Rerank(negatives=1).begun(records)
    opened = begun(task)
    examples = task.examples(opened, records)
    assert len(examples) == 6 * (1 + 1)
    learn(opened.model, task.objective(records), examples, 40, rows=12, rate=1e-2)
    said = task.predict(opened, records)
    assert figures(task, opened, records)["ndcg@10"] == 1
    for record, one in zip(records, said, strict=True):
        assert one.ranked == (*record.found, *record.hard_negatives)
        assert one.scores[0] > 0.5 > one.scores[1]
    assert not task.wrongness(records, said).any()


def test_a_query_without_wrong_candidates_is_given_those_of_others(begun):
    task = Rerank(negatives=3, candidates=4)
    opened = begun(task)
    batch = every_row(task.examples(opened, SEARCHES))
    assert batch.labels.tolist() == [1.0, 0.0, 0.0, 0.0] * 6
    said = task.predict(opened, SEARCHES)
    pool = {one.found[0] for one in SEARCHES}
    for record, one in zip(SEARCHES, said, strict=True):
        assert len(set(one.ranked)) == 4
        assert record.found[0] in one.ranked
        assert set(one.ranked) <= pool
        assert len(one.scores) == 1
    assert task.predict(opened, SEARCHES)[0] == said[0]
    assert task.predict(opened, [Matched(query="cat")])[0].ranked == ()


def test_labelled_pairs_are_not_added_to(begun):
    task = Rerank().begun(PAIRS)
    opened = begun(task)
    batch = every_row(task.examples(opened, PAIRS))
    assert batch.labels.tolist() == [1.0] * 6 + [0.0] * 5
    said = task.predict(opened, PAIRS)
    assert [measure.name for measure in task.measures(PAIRS, said)] == ["spearman", "pearson"]


@pytest.mark.parametrize(
    ("task", "records", "words"),
    [
        (Match(), [Matched(query="cat", found=("meows",))], "one query"),
        (Rerank(), [Matched(query="cat"), Matched(query="dog")], "what is to be found"),
    ],
)
def test_records_that_teach_nothing(task, records, words):
    with pytest.raises(DataError, match=words):
        task.begun(records)


def test_a_blank_text_is_named(begun):
    task = Match()
    with pytest.raises(DataError, match=r"b\.tsv:2"):
        task.examples(begun(task), [SEARCHES[0], Matched(query="cat", found=(" ",))], ["b.tsv:1", "b.tsv:2"])


def test_records_that_cannot_be_measured(begun):
    task = Match()
    opened = begun(task)
    for records, words in (
        ([*PAIRS, Matched(query="cat", found=("meows", "moos"))], "several candidates"),
        ([Matched(query="cat"), Matched(query="dog")], "nothing can be told"),
    ):
        with pytest.raises(DataError, match=words):
            task.measures(records, task.predict(opened, records))


def test_a_cross_encoder_orders_what_words_have_found(begun):
    """Documents of nothing but blanks are not read; the order is that of the scores."""
    corpus = {f"d{number}": one.found[0] for number, one in enumerate(SEARCHES)} | {"blank": " "}
    collection = Retrieval(corpus, {"q": "it barks"}, {"q": {"d1": 2.0, "d5": 1.0}})
    task = Rerank()
    opened = begun(task)
    found = examine_search(task, opened, collection, resamples=100)
    texts = [text for text in corpus.values() if text.strip()]
    (one,) = task.predict(opened, [Matched(query="it barks", hard_negatives=tuple(texts))])
    expected = ranking_measures([{corpus["d1"]: 2.0, corpus["d5"]: 1.0}], [one.ranked])[0].value
    assert found.main.value == pytest.approx(expected)
    assert (
        found.baselines[0].figures[0].value > 0.8
    )  # the word is in one of the two, and that one is worth more
    by_vectors = search_by_vectors(Match(), begun(Match()), collection)
    assert sorted(by_vectors[0]) == [f"d{number}" for number in range(6)]
