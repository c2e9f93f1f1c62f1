"""What simple models reach on the same records by the same measures: what a language model is to be held against.

N records, K labels.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from hanlin.base.language import Text
from hanlin.base.progress import console
from hanlin.base.records import Labelled, Scored
from hanlin.corpus.units import units
from hanlin.evaluate.figures import figures
from hanlin.evaluate.measure import Floats
from hanlin.evaluate.task_results import Baseline
from hanlin.records.loaded import Loaded
from hanlin.tasks.baseline_network import text_cnn
from hanlin.tasks.class_records import label_numbers
from hanlin.tasks.classify import Classify
from hanlin.tasks.match import Match
from hanlin.tasks.ranked import matching_measures, ranked_by_words
from hanlin.tasks.regress import Regress
from hanlin.tasks.task import AnyRecordTask

Said = tuple[Floats, int]
"""What is said of the test records: numbers (N,) or probabilities (N, K); and how many numbers were learned for it."""

MOST_FEATURES = 200_000


def baselines(
    task: AnyRecordTask, train: Loaded[Any], test: Loaded[Any], resamples: int = 1000, seed: int = 0
) -> tuple[Baseline, ...]:
    """Those that there are for the kind of task, learned from `train` and measured on `test`; none for most kinds.

    The most frequent class (of numbers: their mean); TF-IDF with logistic regression (of numbers: ridge regression),
    left out, and said so, without scikit-learn; of classes of single texts the text-CNN (arXiv 1408.5882). Of a search BM25.
    """
    if isinstance(task, Match):
        start = time.perf_counter()
        measures = matching_measures(test.records, ranked_by_words(test.records))
        told, seconds = tuple(figures(measures, resamples, seed)), time.perf_counter() - start
        return (Baseline(name="BM25", figures=told, seconds=seconds),)
    if not isinstance(task, Classify | Regress):
        return ()
    found = list[Baseline]()
    for name, learn in _learners(task, train.records, test.records, seed).items():
        start = time.perf_counter()
        try:
            said, parameters = learn()
        except ModuleNotFoundError:
            console.print(str(Text(f"{name.en} is left out: it needs pip install 'hanlin[eval]'.",
                                   f"略去 {name.zh}：需要 pip install 'hanlin[eval]'。")), markup=False)  # fmt: skip
            continue
        seconds = time.perf_counter() - start
        measures = task.measures(test.records, _predictions(task, said))
        told = tuple(figures(measures, resamples, seed))
        found.append(Baseline(name=str(name), figures=told, seconds=seconds, parameters=parameters))
    return tuple(found)


def _learners(
    task: Classify | Regress, train: Sequence[Any], test: Sequence[Any], seed: int
) -> dict[Text, Callable[[], Said]]:
    targets = _targets(task, train)
    if isinstance(task, Regress):
        return {
            Text("mean", "平均值"): lambda: _constant(targets, len(test)),
            Text("TF-IDF + ridge regression", "TF-IDF + 岭回归"): lambda: _ridge(targets, train, test),
        }
    several = task.multi_label
    learners: dict[Text, Callable[[], Said]] = {
        Text("most frequent class", "最常见类别"): lambda: _constant(targets, len(test)),
        Text("TF-IDF + logistic regression", "TF-IDF + 逻辑回归"): lambda: _logistic(
            targets, train, test, several
        ),
    }
    if len(task.labels) > 1 and not any(record.pair for record in train):
        learners[Text("text-CNN", "text-CNN")] = lambda: text_cnn(targets, train, test, several, seed)
    return learners


def _predictions(task: Classify | Regress, said: Floats) -> list[Any]:
    if isinstance(task, Regress):
        return [task.regressed(float(one)) for one in said]
    return [task.classified(probabilities_K) for probabilities_K in said]


def _targets(task: Classify | Regress, records: Sequence[Any]) -> Floats:
    """What is to be said: numbers (N,), or for each label 0 or 1 (N, K)."""
    if isinstance(task, Regress):
        return np.array([record.score for record in records], np.float64)
    numbers = label_numbers(records, task.labels, task.multi_label)
    return (numbers if task.multi_label else np.eye(len(task.labels))[numbers]).astype(np.float64)


def _constant(targets: Floats, records: int) -> Said:
    """The mean of the targets, whatever the text."""
    mean = targets.mean(0)
    return np.broadcast_to(mean, (records, *mean.shape)), mean.size


def _logistic(targets_NK: Floats, train: Sequence[Labelled], test: Sequence[Labelled], several: bool) -> Said:
    """Softmax regression, or for sets of labels a logistic regression of each (Cox 1958)."""
    from sklearn.linear_model import LogisticRegression

    seen, asked = _tf_idf(train, test)
    targets = list(targets_NK.T) if several else [targets_NK.argmax(1)]
    columns, parameters = list[Floats](), 0
    for target_N in targets:
        values = np.unique(target_N).astype(np.int64)
        said_NK = np.zeros((len(test), 2 if several else targets_NK.shape[1]))
        if len(values) == 1:  # a label that every record has, or none
            said_NK[:, values] = 1
        else:
            model = LogisticRegression(C=5.0, max_iter=200).fit(seen, target_N)
            said_NK[:, values] = model.predict_proba(asked)
            parameters += model.coef_.size + model.intercept_.size
        columns.append(said_NK[:, 1:] if several else said_NK)
    return np.concatenate(columns, 1), parameters


def _ridge(targets_N: Floats, train: Sequence[Scored], test: Sequence[Scored]) -> Said:
    """Least squares with L2 regularisation (Hoerl & Kennard 1970)."""
    from sklearn.linear_model import Ridge

    seen, asked = _tf_idf(train, test)
    model = Ridge(alpha=1.0).fit(seen, targets_N)
    return model.predict(asked), model.coef_.size + 1


def _tf_idf(train: Sequence[Labelled | Scored], test: Sequence[Labelled | Scored]) -> tuple[Any, Any]:
    """How often each feature is in a record, logarithmic, by how few have it (Sparck Jones 1972): sparse (N, F)."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(
        analyzer=_features, min_df=2 if len(train) > 100 else 1, max_features=MOST_FEATURES, sublinear_tf=True
    )
    return vectorizer.fit_transform(train), vectorizer.transform(test)


def _features(record: Labelled | Scored) -> list[str]:
    """Words alone and in twos, and parts of words of 3 to 5 letters; where words are not spaced, characters up to three in a
    row. Of a pair, which of them both texts have and which only one, and the share of common ones in tenths."""
    if record.pair is None:
        return list(_parts(record.text))
    first, second = set(_parts(record.text)), set(_parts(record.pair))
    both, either = first & second, first | second
    share = f"share {10 * len(both) // max(1, len(either))}"
    return [share, *(f"both {one}" for one in both), *(f"one {one}" for one in either - both)]


def _parts(text: str) -> Iterator[str]:
    words = units(text)
    for at, word in enumerate(words):
        yield word
        if at:
            yield f"{words[at - 1]} {word}"
        if len(word) > 1:
            framed = f"<{word}>"
            yield from (framed[i : i + n] for n in (3, 4, 5) for i in range(len(framed) - n + 1))
        elif at > 1:
            yield " ".join(words[at - 2 : at + 1])
