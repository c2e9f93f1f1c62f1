"""Labels that are probably wrong, found by confident learning: Northcutt et al. 2021 (arXiv 1911.00068).

A simple model (TF-IDF of words or characters, logistic regression) tells the probability of every class of each record that
it did not learn from. A record is doubted if another class is at least as probable as that class usually is for
records that are labelled so (section 3.1), and more probable than its own.

N records, K classes.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hanlin.base.errors import MissingExtra
from hanlin.base.language import Text
from hanlin.base.records import Labelled
from hanlin.corpus.units import units
from hanlin.records.loaded import Loaded

_FOLDS = 5
_MOST_RECORDS = 20_000
_MOST_PROBABILITIES = 200_000
"""Records times classes: what the simple model costs."""
_MOST_FEATURES = 20_000
_MOST_CLASSES = 200
_LEARNED = 0.4
"""Of what the commonest class leaves wrong, the share that the model must have right for its doubts to count."""


@dataclass(frozen=True)
class Doubt:
    """A record whose label may be wrong: what it says, what is likelier, and how probable the model finds either."""

    place: str
    text: str
    label: str
    likelier: str
    probability: float
    probability_likelier: float


@dataclass(frozen=True)
class Doubts:
    """The doubted records, worst first, among `of`; `accuracy` of the simple model on records it did not learn from, and
    `majority`, that of always saying the commonest class. notes: what was left out, and why."""

    found: tuple[Doubt, ...]
    of: int
    accuracy: float
    majority: float
    notes: tuple[Text, ...] = ()


def find_doubts(loaded: Loaded[Labelled], seed: int = 0) -> Doubts:
    """Records with one label each whose label the simple model doubts.

    Where that model is no better than the commonest class, none is named: its doubts would be worth nothing. Raises
    `MissingExtra` without scikit-learn.
    """
    chosen = _usable(loaded, seed)
    labels = [(loaded.records[number].labels or ("",))[0] for number in chosen]
    names = sorted(set(labels))
    if len(names) < 2 or len(names) > _MOST_CLASSES:
        note = Text(
            f"Doubtful labels were not looked for: {len(names)} classes with {_FOLDS} records or more.",
            f"没有查找可疑标签：有 {_FOLDS} 条以上记录的类别共 {len(names)} 个。",
        )
        return Doubts((), len(chosen), 0.0, 0.0, (note,))
    given_N = np.array([names.index(label) for label in labels])
    probabilities_NK = _out_of_fold([loaded.records[number] for number in chosen], given_N, len(names), seed)
    accuracy = float((probabilities_NK.argmax(1) == given_N).mean())
    majority = max(Counter(labels).values()) / len(labels)
    notes = []
    if len(chosen) < len(loaded):
        notes.append(
            Text(
                f"Doubts were looked for among {len(chosen):,} of {len(loaded):,} records (one label each, drawn at random, "
                f"classes with {_FOLDS} records or more).",
                f"在 {len(loaded):,} 条中的 {len(chosen):,} 条里查找可疑标签（单标签、随机抽取、类别至少 {_FOLDS} 条）。",
            )
        )
    if accuracy < majority + _LEARNED * (1 - majority):
        notes.append(
            Text(
                f"A simple model is right {accuracy:.1%} of the time, the commonest class {majority:.1%}: too close to doubt labels by.",
                f"简单模型的正确率为 {accuracy:.1%}，而最常见类别占 {majority:.1%}：差距太小，不足以据此怀疑标签。",
            )
        )
        return Doubts((), len(chosen), accuracy, majority, tuple(notes))
    found = [
        Doubt(
            loaded.places[chosen[row]],
            " | ".join(loaded.records[chosen[row]].inputs)[:200],
            labels[row],
            names[other],
            float(probabilities_NK[row, given_N[row]]),
            float(probabilities_NK[row, other]),
        )
        for row, other in confident_errors(probabilities_NK, given_N)
    ]
    return Doubts(tuple(found), len(chosen), accuracy, majority, tuple(notes))


def confident_errors(
    probabilities_NK: NDArray[np.float64], given_N: NDArray[np.int64]
) -> list[tuple[int, int]]:
    """(record, likelier class) of each doubted record, the greatest margin first; arXiv 1911.00068, equations 1 and 2.

    probabilities_NK: of classes, by a model that did not learn from the record. given_N: the label of each, 0 to K - 1.
    """
    N, K = probabilities_NK.shape
    threshold_K = np.array(
        [
            probabilities_NK[given_N == label, label].mean() if (given_N == label).any() else np.inf
            for label in range(K)
        ]
    )
    confident_NK = np.where(probabilities_NK >= threshold_K, probabilities_NK, -1.0)
    likelier_N = confident_NK.argmax(1)
    rows_N = np.arange(N)
    margin_N = probabilities_NK[rows_N, likelier_N] - probabilities_NK[rows_N, given_N]
    doubted = np.flatnonzero((confident_NK.max(1) >= 0) & (likelier_N != given_N) & (margin_N > 0))
    order = doubted[np.argsort(-margin_N[doubted], kind="stable")]
    return [(int(row), int(likelier_N[row])) for row in order]


def _usable(loaded: Loaded[Labelled], seed: int) -> list[int]:
    """Numbers of records with one label, of classes with enough of them, at most so many."""
    single = [number for number, one in enumerate(loaded.records) if one.labels and len(one.labels) == 1]
    counts = Counter((loaded.records[number].labels or ("",))[0] for number in single)
    kept = [number for number in single if counts[(loaded.records[number].labels or ("",))[0]] >= _FOLDS]
    classes = sum(count >= _FOLDS for count in counts.values())
    most = min(_MOST_RECORDS, max(_MOST_PROBABILITIES // max(classes, 1), _FOLDS * classes))
    if len(kept) > most:
        kept = sorted(np.random.default_rng(seed).choice(kept, most, replace=False).tolist())
    return kept


def _out_of_fold(
    records: Sequence[Labelled], given_N: NDArray[np.int64], K: int, seed: int
) -> NDArray[np.float64]:
    """Probabilities of the classes, (N, K), by models that did not learn from the record."""
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import StratifiedKFold
    except ImportError as error:
        raise MissingExtra(Text("Looking for doubtful labels", "查找可疑标签"), "eval") from error
    texts = [_features(record) for record in records]
    X = TfidfVectorizer(
        analyzer=lambda features: features, min_df=2, max_features=_MOST_FEATURES, sublinear_tf=True
    ).fit_transform(texts)
    probabilities_NK = np.zeros((len(records), K))
    for learned, told in StratifiedKFold(_FOLDS, shuffle=True, random_state=seed).split(X, given_N):
        model = LogisticRegression(C=5.0, max_iter=100).fit(X[learned], given_N[learned])
        probabilities_NK[np.ix_(told, model.classes_)] = model.predict_proba(X[told])
    return probabilities_NK


def _features(record: Labelled) -> list[str]:
    """Words of spaced scripts and characters of others, alone and two or three in a row; a pair's texts are kept apart."""
    found: list[str] = []
    for number, text in enumerate(record.inputs):
        words = units(text)
        for size in (1, 2, 3):
            found += [f"{number}{' '.join(words[at : at + size])}" for at in range(len(words) - size + 1)]
    return found
