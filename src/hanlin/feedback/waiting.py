"""Feedback that came while the database was away: kept in a file, and added when it is back."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from filelock import FileLock

from hanlin.base.files import disk_errors, write_text
from hanlin.feedback.records import Feedback


class WaitingFile:
    """Lines of JSON, each on the disk before `keep` returns. For any thread of any process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = FileLock(path.with_suffix(".lock"))

    def __len__(self) -> int:
        return len(self._lines())

    def keep(self, opinions: Sequence[Feedback]) -> None:
        """Write them at the end. Raises `DiskError` if the disk cannot take them."""
        lines = "".join(one.model_dump_json() + "\n" for one in opinions)
        with disk_errors(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
        with disk_errors(self._path), self._lock, self._path.open("ab") as file:
            # The line feed first: what a crash left of a line, never acknowledged, must not join the next one.
            file.write(b"\n" + lines.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())

    def replay(self, add: Callable[[Sequence[Feedback]], object]) -> int:
        """Give all to `add`, then forget them; how many they were. What `add` raises comes out, and all are kept.

        A crash in between gives them twice: `add` knows them by their ids.
        """
        if not self._path.exists() or not self._path.stat().st_size:
            return 0
        with self._lock:
            opinions = self._lines()
            add(opinions)
            write_text(self._path, "")
            return len(opinions)

    def _lines(self) -> list[Feedback]:
        if not self._path.exists():
            return []
        found = []
        for line in self._path.read_text("utf-8", errors="replace").splitlines():
            try:
                found.append(Feedback.model_validate_json(line))
            except ValueError:
                continue  # torn by a crash before it was acknowledged
        return found
