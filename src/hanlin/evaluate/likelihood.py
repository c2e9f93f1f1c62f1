"""How surprised a model is by each of several texts: perplexity, bits per byte and per character.

Formulas as in `perplexity.py`, with the record in the place of the document.

N records.
"""

import numpy as np
from numpy.typing import ArrayLike

from hanlin.evaluate.measure import Ids, Measure, ratio_of

_LARGEST = 700.0
"""exp of more than this is beyond a float."""


def likelihood_measures(
    nll_N: ArrayLike, tokens_N: ArrayLike, bytes_N: ArrayLike, characters_N: ArrayLike | None = None
) -> tuple[Measure, ...]:
    """Bits per byte, perplexity of a token and, if characters are given, bits per character; lower is better.

    nll_N: the negative log-probability of each record, in nats. tokens_N: tokens that it is the sum of. bytes_N: length
    of the text in UTF-8. Perplexity compares only models with one tokenizer.
    """
    bits_N = np.asarray(nll_N, np.float64) / np.log(2)
    mean_nll = ratio_of("", nll_N, tokens_N)

    def perplexity(ids: Ids) -> float:
        return float(np.exp(min(mean_nll.of(ids), _LARGEST)))

    measures = [
        ratio_of("bits_per_byte", bits_N, bytes_N, "lower"),
        Measure("perplexity", perplexity, len(bits_N), "lower"),
    ]
    if characters_N is not None:
        measures.append(ratio_of("bits_per_character", bits_N, characters_N, "lower"))
    return tuple(measures)
