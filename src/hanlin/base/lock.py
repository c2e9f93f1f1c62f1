"""One writer a folder."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from hanlin.base.errors import ConfigError
from hanlin.base.files import disk_errors
from hanlin.base.language import Text


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process; raise `ConfigError` if another process holds it. A kill releases it."""
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise ConfigError(
                Text(f"Another process is writing {folder}.", f"另一个进程正在写入 {folder}。"),
                Text("Wait until it ends, or set another folder=...", "请等它结束，或另设 folder=……。"),
            ) from error
    try:
        yield
    finally:
        lock.release()
