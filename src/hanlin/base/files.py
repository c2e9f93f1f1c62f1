"""Files and folders that appear whole or not at all, and their checksums."""

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from hanlin.base.errors import DiskError
from hanlin.base.language import Text

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EROFS, errno.EACCES, errno.EPERM}
_IN_THE_WAY = {errno.ENOTDIR, errno.EISDIR, errno.EEXIST}


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full or unwritable disk into a `DiskError` that names `path`."""
    try:
        yield
    except OSError as error:
        known = error.errno in _FULL | _FORBIDDEN | _IN_THE_WAY or _no_place(error, path)
        if not known or _elsewhere(error, path):
            raise
        raise DiskError(
            Text(f"Cannot write {path}: {error.strerror}.", f"无法写入 {path}：{error.strerror}。"),
            Text(
                "Free some space or choose another folder, then run the same command again; "
                "what was finished before is kept.",
                "请清理磁盘空间或改用别的目录，然后重新运行同一命令；此前已完成的内容都还在。",
            ),
        ) from error


def _no_place(error: OSError, path: Path) -> bool:
    """Whether `path` or a folder above it cannot be made, as under /proc."""
    if error.errno != errno.ENOENT or not isinstance(error.filename, str):
        return False
    return Path(error.filename).absolute() in (path.absolute(), *path.absolute().parents)


def _elsewhere(error: OSError, path: Path) -> bool:
    """Whether the trouble is with a file that has nothing to do with writing `path`, such as an input."""
    if error.errno in _FULL or not isinstance(error.filename, str):
        return False
    near, place = path.absolute().parent, Path(error.filename).absolute()
    return near not in place.parents and place not in (near, *near.parents)


@contextlib.contextmanager
def atomic_file(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary neighbour of `path` for writing; it takes the name `path` only when all went well.

    Raises `DiskError` when the disk is full or unwritable; `path` then still holds what it held before.
    """
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with open(descriptor, mode, encoding=None if "b" in mode else "utf-8") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            ordinary_permissions(Path(temporary))
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with atomic_file(path, "w") as file:
        file.write(text)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder that replaces `path` only when all went well.

    A process killed at any moment leaves either the old folder or the new one under a name that starts
    with the old name; `recover_folder` (called here and by readers) puts back what a kill left between.
    Raises `DiskError` when the disk is full or unwritable.
    """
    with disk_errors(path):
        recover_folder(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        try:
            yield fresh
            _sync_tree(fresh)
            _swap(fresh, path)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise


def write_further(folder: Path, texts: Mapping[str, str]) -> None:
    """Write UTF-8 text files, by their place in a folder that is not yet there for others (`atomic_folder`)."""
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")


def recover_folder(path: Path) -> None:
    """Put back the old folder if a kill came between the two renames of `atomic_folder`."""
    path = path.absolute()  # "." has no name
    old = path.parent / f".{path.name}.old"
    if not old.exists():
        return
    if path.exists():
        shutil.rmtree(old, ignore_errors=True)
    else:
        os.rename(old, path)


def _swap(fresh: Path, path: Path) -> None:
    old = path.with_name(f".{path.name}.old")
    if path.exists():
        os.rename(path, old)
    os.rename(fresh, path)
    shutil.rmtree(old, ignore_errors=True)


def _sync_tree(folder: Path) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            descriptor = os.open(file, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def ordinary_permissions(path: Path) -> None:
    """Let those read a file who may read what this process writes; temporary files are private."""
    os.chmod(path, 0o666 & ~_umask())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
