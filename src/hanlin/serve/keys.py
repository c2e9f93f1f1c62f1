"""API keys: who may call what, and how much. The file holds only digests; a key is shown once, when it is made."""

import hashlib
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, TypeAdapter, ValidationError

from hanlin.base.errors import ConfigError
from hanlin.base.files import write_text
from hanlin.base.language import Text
from hanlin.base.records import Record

Scope = Literal["generate", "feedback", "metrics", "admin"]
"""generate: text, embeddings, tasks. feedback: conversations that are kept, and opinions. metrics: /metrics. admin: what
changes the server, and what all users said."""

SCOPES: tuple[Scope, ...] = ("generate", "feedback", "metrics", "admin")
USUAL: tuple[Scope, ...] = ("generate", "feedback")


class Key(Record):
    """One key. name: of the user or program that has it, to whom conversations belong.

    digest: SHA-256, hexadecimal; a key is 256 random bits, so that no slower digest is needed. Limits are per minute; None:
    none. expires: seconds since 1970.
    """

    name: str = Field(min_length=1, max_length=200)
    digest: str = Field(pattern="^[0-9a-f]{64}$")
    scopes: tuple[Scope, ...] = USUAL
    requests_per_minute: int | None = Field(None, ge=1)
    tokens_per_minute: int | None = Field(None, ge=1)
    made: float = 0.0
    expires: float | None = None


_FILE = TypeAdapter(tuple[Key, ...])


def digest(key: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def read_keys(path: Path) -> tuple[Key, ...]:
    """The keys of a file; none if there is no file. Raises `ConfigError` for one that cannot be read."""
    try:
        return _FILE.validate_json(path.read_bytes()) if path.exists() else ()
    except (OSError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            Text(f"{path} is no file of keys: {reason}", f"{path} 不是密钥文件：{reason}"),
            Text("Make it with `hanlin keys add NAME`, or restore it from a copy.",
                 "请用 `hanlin keys add 名称` 建立，或从备份恢复。"),
        ) from error  # fmt: skip


def add_key(
    path: Path,
    name: str,
    scopes: Sequence[Scope] = USUAL,
    requests_per_minute: int | None = None,
    tokens_per_minute: int | None = None,
    days: float | None = None,
) -> str:
    """Make a key and write its digest; the key itself is returned and kept nowhere. Raises `ConfigError` for a name that
    is taken, and as `read_keys`."""
    keys = read_keys(path)
    if any(key.name == name for key in keys):
        raise ConfigError(
            Text(f"{path} has a key named {name!r} already.", f"{path} 中已有名为 {name!r} 的密钥。"),
            Text("Choose another name, or revoke that one first.", "请换一个名称，或先撤销原密钥。"),
        )
    secret, now = f"hk-{secrets.token_urlsafe(32)}", time.time()
    made = Key(
        name=name,
        digest=digest(secret),
        scopes=tuple(scopes),
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        made=now,
        expires=None if days is None else now + days * 86_400,
    )
    _write(path, (*keys, made))
    return secret


def revoke_key(path: Path, name: str) -> None:
    """Take a key out of the file; a running server stops answering to it. Raises `ConfigError` if there is none."""
    keys = read_keys(path)
    left = tuple(key for key in keys if key.name != name)
    if len(left) == len(keys):
        names = ", ".join(key.name for key in keys) or "-"
        raise ConfigError(
            Text(f"{path} has no key named {name!r}.", f"{path} 中没有名为 {name!r} 的密钥。"),
            Text(f"It has: {names}", f"其中有：{names}"),
        )
    _write(path, left)


def _write(path: Path, keys: tuple[Key, ...]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, _FILE.dump_json(keys, indent=1).decode() + "\n")
    path.chmod(0o600)


class KeyRing:
    """The keys that a server answers to: of a file, which is read again when it changes, and one of the settings."""

    def __init__(self, path: Path | None, single: str | None = None) -> None:
        """single: a key that may do everything, named "local". Raises as `read_keys`."""
        self._path, self._lock = path, threading.Lock()
        self._single = [] if single is None else [Key(name="local", digest=digest(single), scopes=SCOPES)]
        self._stamp: tuple[int, int] | None = None
        self._keys: Mapping[str, Key] = {key.digest: key for key in self._single}
        self._refresh()

    @property
    def is_open(self) -> bool:
        """Whether no key is asked for: there is neither a file nor a single key."""
        return self._path is None and not self._single

    def find(self, secret: str) -> Key | None:
        """The key that this is, unless its time is over."""
        self._refresh()
        key = self._keys.get(digest(secret))
        return None if key is None or (key.expires is not None and key.expires <= time.time()) else key

    def _refresh(self) -> None:
        if self._path is None:
            return
        with self._lock:
            found = self._path.stat() if self._path.exists() else None
            stamp = None if found is None else (found.st_mtime_ns, found.st_size)
            if stamp != self._stamp:
                keys = [*self._single, *read_keys(self._path)]
                self._keys, self._stamp = {key.digest: key for key in keys}, stamp
