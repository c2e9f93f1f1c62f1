"""How near written text comes to texts that count as right: BLEU, chrF, ROUGE, exact match; and how it repeats itself.

N texts, S sufficient statistics.
"""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from hanlin.base.errors import MissingExtra
from hanlin.base.language import Text
from hanlin.evaluate.measure import Ids, Measure, mean_of
from hanlin.evaluate.rouge import n_grams, rouge_measures
from hanlin.evaluate.words import Script, counted_words, script_of, segmented_words

_TOKENIZERS: dict[Script, str] = {"spaced": "13a", "han": "zh", "unspaced": "char"}
"""How sacrebleu cuts the scripts of the targets: its `13a` takes an unbroken line of Chinese for one word."""


def written_measures(
    targets: Sequence[Sequence[str]],
    said: Sequence[str],
    *,
    lower_case: bool = False,
    chinese_words: bool = False,
) -> tuple[Measure, ...]:
    """BLEU and chrF (0 to 100, of all texts together), ROUGE-1, -2, -L, exact match, repetition (0 to 1, means).

    targets: of each text at least one. lower_case: for BLEU and chrF; ROUGE always is. chinese_words: whether ROUGE
    counts Chinese words (extra `zh`) instead of characters. Raises `MissingExtra` without sacrebleu.

    BLEU: Papineni et al. 2002; chrF: Popović 2015; as in sacrebleu (Post 2018), whose signatures `signatures` gives.
    """
    bleu, chrf = _metrics(targets, lower_case)
    same_N = [" ".join(text.split()) in {" ".join(one.split()) for one in texts}
              for text, texts in zip(said, targets, strict=True)]  # fmt: skip
    return (
        _corpus_measure("bleu", bleu, targets, said),
        _corpus_measure("chrf", chrf, targets, said),
        *rouge_measures(targets, said, segmented_words if chinese_words else counted_words),
        mean_of("exact_match", np.array(same_N, np.float64)),
        mean_of("repetition", np.array([repetition(text) for text in said]), "lower"),
    )


def signatures(
    targets: Sequence[Sequence[str]], said: Sequence[str], lower_case: bool = False
) -> dict[str, str]:
    """What sacrebleu says to give beside BLEU and chrF, so that others can compare: tokenisation, smoothing, version."""
    named = zip(("bleu", "chrf"), _metrics(targets, lower_case), strict=True)
    found = {}
    for name, metric in named:
        metric.corpus_score(said, _streams(targets))
        found[name] = str(metric.get_signature())
    return found


def repetition(text: str, n: int = 4) -> float:
    """Share of n-grams of words that the text had before: 1 - distinct / all. Source: arXiv 1908.04319, section 6.1."""
    grams = n_grams(counted_words(text), n)
    return 1 - len(grams) / grams.total() if grams else 0.0


def distinct(texts: Sequence[str], n: int) -> float:
    """Distinct n-grams over all n-grams of all texts together: how diverse they are. Source: arXiv 1510.03055, section 4.2.

    No `Measure`: it falls with the number of texts, and a resample, which has texts twice, always looks less diverse.
    """
    grams = sum((n_grams(counted_words(text), n) for text in texts), start=n_grams((), n))
    return len(grams) / grams.total() if grams else 0.0


def _metrics(targets: Sequence[Sequence[str]], lower_case: bool) -> tuple[Any, Any]:
    try:
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF
    except ImportError as error:
        raise MissingExtra(Text("BLEU and chrF", "计算 BLEU 与 chrF"), "eval") from error
    script = script_of(text for texts in targets for text in texts)
    return BLEU(tokenize=_TOKENIZERS[script], lowercase=lower_case), CHRF(lowercase=lower_case)


def _streams(targets: Sequence[Sequence[str]]) -> list[tuple[str | None, ...]]:
    """The first targets of all texts, the second, ...; None where a text has fewer."""
    return list(zip_longest(*targets))


def _corpus_measure(name: str, metric: Any, targets: Sequence[Sequence[str]], said: Sequence[str]) -> Measure:
    """A metric of sacrebleu, which is a function of the sum of what each text contributes."""
    stats_NS = np.array(metric._extract_corpus_statistics(said, _streams(targets)), np.float64)

    def of(ids: Ids) -> float:
        return float(metric._compute_score_from_stats(stats_NS[ids].sum(0).tolist()).score)

    return Measure(name, of, len(said))
