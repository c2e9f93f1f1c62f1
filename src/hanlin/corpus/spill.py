"""Documents kept so far, on disk: appended, read back by number (for comparing copies), then read in order."""

import json
import os
from array import array
from collections.abc import Iterator
from pathlib import Path

from hanlin.base.records import Document

_HELD_BYTES = 1 << 20


class Spill:
    """A temporary file of JSON lines; in memory 8 bytes a document and at most 1 MiB of text."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = open(path, "w+b", buffering=0)  # noqa: SIM115 - closed in close()
        self._starts = array("Q", [0])
        self._held = bytearray()
        self._written = 0

    def __len__(self) -> int:
        return len(self._starts) - 1

    def append(self, document: Document) -> None:
        """Add a document; its number is how many there were before."""
        row = [document.id, document.text, document.source, document.language, document.licence]
        self._held += json.dumps(row, ensure_ascii=False).encode("utf-8") + b"\n"
        self._starts.append(self._written + len(self._held))
        if len(self._held) > _HELD_BYTES:
            self._flush()

    def text(self, number: int) -> str:
        """The text of a document, read back."""
        start, end = self._starts[number], self._starts[number + 1]
        if start >= self._written:
            line = bytes(self._held[start - self._written : end - self._written])
        else:
            line = os.pread(self._file.fileno(), end - start, start)
        return str(json.loads(line)[1])

    def documents(self) -> Iterator[Document]:
        """All documents in the order in which they were added."""
        self._flush()
        with open(self._path, "rb") as file:
            for line in file:
                identity, text, source, language, licence = json.loads(line)
                yield Document.model_construct(
                    id=identity, text=text, source=source, language=language, licence=licence
                )

    def close(self) -> None:
        """Close and remove the file."""
        self._file.close()
        self._path.unlink(missing_ok=True)

    def _flush(self) -> None:
        view = memoryview(bytes(self._held))
        while view:
            view = view[self._file.write(view) :]
        self._written += len(self._held)
        self._held.clear()
