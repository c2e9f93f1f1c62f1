"""What was met while reading one source: files, encodings, columns taken, and trouble skipped or raised."""

import os
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from hanlin.base.errors import DataError
from hanlin.base.language import Text
from hanlin.corpus.config import OnError

SAMPLES = 5


def path_text(path: Path) -> str:
    """A path as text that every file can hold: bytes that are not UTF-8 (names from old archives) as `\\xNN`."""
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")


class Raw(NamedTuple):
    """One text as it came, with its origin and the licence stated for it."""

    text: str
    source: str
    licence: str


class Intake:
    """Counts for the report; decides whether trouble stops the run (`on_error`)."""

    def __init__(self, name: str, on_error: OnError = "stop") -> None:
        self.name = name
        self.on_error = on_error
        self.documents = 0
        self.characters = 0
        self.cut: str | None = None
        self.counts: Counter[str] = Counter()
        self.encodings: Counter[str] = Counter()
        self.text_fields: Counter[str] = Counter()
        self.ignored_endings: Counter[str] = Counter()
        self.troubles: Counter[str] = Counter()
        self.trouble_samples: list[dict[str, Any]] = []

    def trouble(self, path: Path, line: int | None, kind: str, reason: Text, remedy: Text) -> None:
        """Raise `DataError` naming `path`, `line` and `reason`; or, with on_error `skip`, count and remember it.

        `kind` is a short English name under which the report counts it.
        """
        if self.on_error == "stop":
            place = path_text(path) if line is None else f"{path_text(path)}:{line}"
            raise DataError(
                Text(f"{place}: {reason.en}", f"{place}：{reason.zh}"),
                Text(
                    f"{remedy.en} Or set on_error: skip to leave such data out and have it listed in the report.",
                    f"{remedy.zh}也可以设 on_error: skip，跳过这类数据并在报告中列出。",
                ),
            )
        self.troubles[kind] += 1
        if len(self.trouble_samples) < SAMPLES * 4:
            self.trouble_samples.append({"file": path_text(path), "line": line, "reason": reason.en})

    def as_report(self) -> dict[str, Any]:
        """What the report says about the reading of this source."""
        counters = {
            "counts": self.counts,
            "encodings": self.encodings,
            "text_fields": self.text_fields,
            "ignored_file_endings": self.ignored_endings,
            "skipped": self.troubles,
        }
        return {
            "name": self.name,
            "documents_read": self.documents,
            "characters_read": self.characters,
            "cut": self.cut,
            **{name: dict(sorted((+counter).items())) for name, counter in counters.items() if +counter},
            **({"skipped_samples": self.trouble_samples} if self.trouble_samples else {}),
        }
