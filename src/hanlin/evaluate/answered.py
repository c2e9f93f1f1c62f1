"""How well questions are answered: exact match and F1 of words, against the best of several right answers.

Sources: Rajpurkar et al. 2016 (SQuAD), section 6.1; Rajpurkar et al. 2018 (SQuAD 2.0) for questions without an answer;
Cui et al. 2019 (CMRC 2018), section 4.1, for Chinese.

N records.
"""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from hanlin.evaluate.classification import NOTHING
from hanlin.evaluate.measure import Floats, Measure, mean_of, ratio_of
from hanlin.evaluate.words import answer_words, script_of

Words = Sequence[str]


def answer_measures(truth: Sequence[Sequence[str]], said: Sequence[str]) -> tuple[Measure, ...]:
    """Exact match and F1 over normalised words (characters of Chinese), the best over the right answers of a record.

    No right answers at all, or only ones without a word, say that there is none to be found: then an empty answer is
    worth 1 and any other 0; of these records the share is given by itself, as is F1 of the rest, if there are both.
    Where most letters of the answers are Chinese, `cmrc_f1` is F1 as CMRC 2018 has it, by the longest common run.
    """
    said_words = [answer_words(text) for text in said]
    true_words = [[words for words in map(answer_words, answers) if words] or [[]] for answers in truth]

    def best(of: Callable[[Words, Words], float]) -> Floats:
        pairs = zip(said_words, true_words, strict=True)
        return np.array([max(of(one, other) for other in others) for one, others in pairs], np.float64)

    exact_N, f1_N = best(exact), best(f1_of_words)
    has_answer_N = np.array([others != [[]] for others in true_words])
    measures = [mean_of("exact_match", exact_N), mean_of("f1", f1_N)]
    if script_of(answer for answers in truth for answer in answers) == "han":
        measures.append(mean_of("cmrc_f1", best(f1_of_run)))
    if has_answer_N.any() and not has_answer_N.all():
        measures += [
            ratio_of("answerable_f1", f1_N * has_answer_N, has_answer_N),
            ratio_of("unanswerable_accuracy", exact_N * ~has_answer_N, ~has_answer_N),
        ]
    return tuple(measures)


def exact(said: Words, true: Words) -> float:
    """1 if the words are the same, else 0."""
    return float(list(said) == list(true))


def f1_of_words(said: Words, true: Words) -> float:
    """F1 of the words in common, in whatever order, each as often as both have it; 1 for nothing against nothing."""
    return _f1((Counter(said) & Counter(true)).total(), said, true)


def f1_of_run(said: Words, true: Words) -> float:
    """F1 of the longest run of words that stands in both; 1 for nothing against nothing."""
    longest = 0
    ending = [0] * (len(true) + 1)
    for word in said:
        ending = [
            0,
            *(before + 1 if word == other else 0 for before, other in zip(ending, true, strict=False)),
        ]
        longest = max(longest, *ending)
    return _f1(longest, said, true)


def _f1(common: int, said: Words, true: Words) -> float:
    if not said and not true:
        return 1.0
    return 2 * common / (len(said) + len(true)) if common else NOTHING
