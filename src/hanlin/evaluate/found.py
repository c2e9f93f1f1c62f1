"""How well sets of things are found: entities, words, relations, answers of a list.

A thing counts as found only if it is the same in every part, such as beginning, end and kind of an entity (exact match:
Tjong Kim Sang & De Meulder 2003, CoNLL). Counts are taken of all records together; 0 / 0 is 0.
"""

from collections.abc import Callable, Collection, Hashable, Sequence
from typing import Any

from hanlin.evaluate.classification import Tally, macro_f1, tally
from hanlin.evaluate.measure import Measure


def found_measures(
    truth: Sequence[Collection[Hashable]], said: Sequence[Collection[Hashable]], name: str = ""
) -> tuple[Measure, Measure, Measure]:
    """F1, precision and recall of the sets of all records together; `name` ("relations") stands before theirs."""
    return tally(truth, said, lambda _: 0, 1).measures_of(0, f"{name}_" if name else "")


def found_by_kind(
    truth: Sequence[Collection[Hashable]],
    said: Sequence[Collection[Hashable]],
    kind_of: Callable[[Any], str],
) -> dict[str, tuple[Measure, Measure, Measure]]:
    """F1, precision and recall of each kind of thing by itself, in the order of the names of kinds."""
    counted, numbers = _by_kind(truth, said, kind_of)
    return {kind: counted.measures_of(number) for kind, number in numbers.items()}


def macro_f1_of_kinds(
    truth: Sequence[Collection[Hashable]],
    said: Sequence[Collection[Hashable]],
    kind_of: Callable[[Any], str],
) -> Measure:
    """The mean F1 of the kinds that are true or said."""
    return _by_kind(truth, said, kind_of)[0].measure("macro_f1", macro_f1)


def _by_kind(
    truth: Sequence[Collection[Hashable]],
    said: Sequence[Collection[Hashable]],
    kind_of: Callable[[Any], str],
) -> tuple[Tally, dict[str, int]]:
    kinds = sorted({kind_of(thing) for things in (*truth, *said) for thing in things})
    numbers = {kind: number for number, kind in enumerate(kinds)}
    return tally(truth, said, lambda thing: numbers[kind_of(thing)], len(numbers)), numbers
