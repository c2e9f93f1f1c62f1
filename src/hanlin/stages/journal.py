"""What was made so far of an output file, one line a row: a run that was stopped or killed goes on behind the last
whole chunk."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from hanlin.base.errors import ConfigError
from hanlin.base.files import disk_errors
from hanlin.base.language import Text
from hanlin.stages.current import differences


def beside(output: Path) -> Path:
    """The folder in which the journal of an output lies until that is whole."""
    return output.with_name(f".{output.name}.unfinished")


class Journal:
    """A file whose first line says what is made, by what, and whose others hold what was said of each row."""

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        self.path, self.identity = path, identity
        self.rows = 0

    def begin(self, chunk: int) -> int:
        """Begin it, or cut it behind its last whole chunk; how many rows it then has.

        Chunks and not rows, so that those that follow hold the same rows as in a run that was never stopped, and give the
        same numbers. Raises `ConfigError` for a journal of other files or another model.
        """
        if not self.path.is_file():
            return self._fresh()
        with open(self.path, "rb") as file:
            first = file.readline()
            lines, ends = 0, [file.tell()]
            while file.readline().endswith(b"\n"):
                lines += 1
                if lines % chunk == 0:
                    ends.append(file.tell())
        if len(ends) == 1:
            return self._fresh()  # nothing is lost: whatever was asked before
        self.rows = (len(ends) - 1) * chunk
        self._check(first)
        with open(self.path, "r+b") as file:
            file.truncate(ends[-1])
        return self.rows

    def append(self, said: Iterable[dict[str, Any]]) -> None:
        """Add one value a row."""
        lines = [json.dumps(one, ensure_ascii=False) for one in said]
        self._write("a", lines)
        self.rows += len(lines)

    def read(self) -> Iterator[dict[str, Any]]:
        """What was said of each row, in order."""
        with open(self.path, encoding="utf-8") as file:
            next(file)
            for line in file:
                yield json.loads(line)

    def _fresh(self) -> int:
        self._write("w", [json.dumps(self.identity, ensure_ascii=False)])
        return 0

    def _write(self, mode: str, lines: Iterable[str]) -> None:
        with disk_errors(self.path), open(self.path, mode, encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in lines))

    def _check(self, first: bytes) -> None:
        try:
            before = json.loads(first)
        except ValueError:
            before = {}
        changed = differences(before, self.identity)
        if changed:
            lines = "\n  ".join(changed)
            raise ConfigError(
                Text(f"An unfinished run for this output was of something else:\n  {lines}",
                     f"此输出有一次未完成的运行，其内容不同：\n  {lines}"),
                Text("Restore that to go on with it, name another --output, or throw it away: --fresh",
                     "请恢复上述内容以继续，或另设 --output，或用 --fresh 丢弃它。"),
            )  # fmt: skip
