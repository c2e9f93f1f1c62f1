"""What each step did: documents and characters in and out, reasons with counts, and a few samples."""

from collections.abc import Callable
from typing import Any

from hanlin.corpus.intake import SAMPLES

_EXCERPT = 160

Clean = Callable[[str], str]
"""Takes personal data out of an excerpt, so that the report does not keep what the corpus lost."""


class StepReport:
    """Counts of one step of the pipeline."""

    def __init__(self, name: str, clean: Clean, show_before: bool = True) -> None:
        self.name = name
        self._clean = clean
        self._show_before = show_before
        self.documents_in = self.documents_out = self.documents_changed = 0
        self.characters_in = self.characters_out = 0
        self.reasons: dict[str, dict[str, Any]] = {}

    def passed(self, before: str, after: str) -> None:
        """A document went on, changed or not."""
        self.documents_in += 1
        self.documents_out += 1
        self.characters_in += len(before)
        self.characters_out += len(after)
        if before != after:
            self.documents_changed += 1
            entry = self._count("changed", len(before))
            if len(entry["samples"]) < SAMPLES:
                entry["samples"].append(self._change(before, after))

    def dropped(self, text: str, reason: str, source: str, twin: str | None = None) -> None:
        """A document was dropped for `reason`; `twin` is the text that it repeats."""
        self.documents_in += 1
        self.characters_in += len(text)
        self.noted(text, reason, source, twin)

    def noted(self, text: str, reason: str, source: str, twin: str | None = None) -> None:
        """Something happened to a document that stays (or is counted elsewhere)."""
        entry = self._count(reason, len(text))
        if len(entry["samples"]) < SAMPLES:
            sample = {"source": source, "text": _excerpt(self._clean(text), 0)}
            if twin is not None:
                sample["kept"] = _excerpt(self._clean(twin), 0)
            entry["samples"].append(sample)

    def tally(self, reason: str, count: int) -> None:
        """Add to a count that has no samples of its own."""
        self.reasons.setdefault(reason, {"count": 0})["count"] += count

    def _count(self, reason: str, characters: int) -> dict[str, Any]:
        entry = self.reasons.setdefault(reason, {"count": 0, "characters": 0, "samples": []})
        entry["count"] += 1
        entry["characters"] += characters
        return entry

    def _change(self, before: str, after: str) -> dict[str, str]:
        """Excerpts from around the first difference; without `show_before` only of the text as it is now."""
        if not self._show_before:
            return {"after": _excerpt(after, _first_difference(before, after))}
        before, after = self._clean(before), self._clean(after)
        start = _first_difference(before, after)
        return {"before": _excerpt(before, start), "after": _excerpt(after, start)}

    def as_report(self) -> dict[str, Any]:
        """What the report says about this step."""
        return {
            "name": self.name,
            "documents_in": self.documents_in,
            "documents_out": self.documents_out,
            "documents_changed": self.documents_changed,
            "characters_in": self.characters_in,
            "characters_out": self.characters_out,
            "reasons": dict(sorted(self.reasons.items())),
        }


def _first_difference(one: str, other: str) -> int:
    for index, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return index
    return min(len(one), len(other))


def _excerpt(text: str, start: int) -> str:
    """160 characters around `start`; halves of surrogate pairs, which no file can hold, become `?`."""
    begin = max(0, start - _EXCERPT // 2)
    piece = text[begin : begin + _EXCERPT].encode("utf-8", "replace").decode("utf-8")
    return ("…" if begin else "") + piece + ("…" if begin + _EXCERPT < len(text) else "")
