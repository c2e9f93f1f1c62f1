"""Measure us and a peer in turn, in one process, and print both with the ratio."""

import statistics
from collections.abc import Callable


def compare(
    title: str, unit: str, ours: Callable[[], float], peer: Callable[[], float], rounds: int = 5
) -> None:
    """Call both in turn, `rounds` times after one warm-up; each returns a rate in `unit` (higher is better)."""
    ours(), peer()
    pairs = [(ours(), peer()) for _ in range(rounds)]
    mine, theirs = zip(*pairs, strict=True)
    ratios = [a / b for a, b in pairs]
    print(f"{title}")
    for name, values in (("hanlin", mine), ("peer", theirs)):
        print(f"  {name:<8} {_three(values)} {unit} (min / median / max of {rounds})")
    print(f"  ratio    {min(ratios):.2f} / {statistics.median(ratios):.2f} / {max(ratios):.2f}\n", flush=True)


def _three(values: tuple[float, ...]) -> str:
    return " / ".join(f"{value:,.1f}" for value in (min(values), statistics.median(values), max(values)))
