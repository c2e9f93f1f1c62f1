"""`hanlin.json`: every folder that a stage writes explains itself.

It holds the kind of folder, the format version, the configuration that made it, the fingerprints of its
inputs, the checksum of each file beside it and the stage's report. It holds no time and no machine name:
the same input and configuration give the same bytes.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from hanlin.base.errors import CheckpointError, NewerFormatError
from hanlin.base.files import recover_folder, sha256, write_text
from hanlin.base.language import Text

FORMAT = 1
NAME = "hanlin.json"


class Manifest(BaseModel):
    """The content of one `hanlin.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    format: int = FORMAT
    config: dict[str, Any]
    inputs: dict[str, str] = {}
    files: dict[str, str] = {}
    report: dict[str, Any] = {}

    @property
    def fingerprint(self) -> str:
        """What this folder holds, as 16 hexadecimal digits: equal folders have equal fingerprints."""
        return fingerprint(self.model_dump(include={"kind", "format", "config", "inputs", "files"}))


def fingerprint(value: Any) -> str:
    """16 hexadecimal digits that depend on every part of a JSON-like value and on nothing else."""
    canonical = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def write_manifest(
    folder: Path,
    kind: str,
    config: dict[str, Any],
    inputs: dict[str, str] | None = None,
    report: dict[str, Any] | None = None,
) -> Manifest:
    """Checksum every file in `folder` and write its `hanlin.json`. Call last, inside `atomic_folder`."""
    files = {
        file.relative_to(folder).as_posix(): sha256(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != NAME
    }
    manifest = Manifest(kind=kind, config=config, inputs=inputs or {}, files=files, report=report or {})
    write_text(folder / NAME, manifest.model_dump_json(indent=1) + "\n")
    return manifest


def read_manifest(folder: Path, kind: str | None = None) -> Manifest:
    """Read `folder/hanlin.json`.

    Raises `CheckpointError` if it is missing, damaged or of another kind than `kind`, `NewerFormatError` if newer.
    """
    recover_folder(folder)
    path = folder / NAME
    if not path.is_file():
        raise CheckpointError(
            Text(
                f"{folder} has no {NAME}: it was not written by Hanlin.",
                f"{folder} 中没有 {NAME}：它不是 Hanlin 写出的目录。",
            ),
            Text("Give the folder that a stage printed.", "请给出某个阶段所打印的目录。"),
        )
    try:
        raw = json.loads(path.read_text("utf-8"))
        newer = isinstance(raw, dict) and int(raw.get("format", 0)) > FORMAT
        manifest = None if newer else Manifest.model_validate(raw)
    except (ValueError, TypeError, ValidationError) as error:
        raise CheckpointError(
            Text(
                f"{path} is damaged: {str(error).splitlines()[0]}",
                f"{path} 已损坏：{str(error).splitlines()[0]}",
            ),
            Text("Make the folder again, or restore it from a copy.", "请重新生成该目录，或从备份恢复。"),
        ) from error
    if manifest is None:
        raise NewerFormatError(
            Text(
                f"{path} has format {raw['format']}; this Hanlin reads up to format {FORMAT}.",
                f"{path} 的格式版本为 {raw['format']}，当前 Hanlin 只能读到版本 {FORMAT}。",
            ),
            Text("Upgrade Hanlin: pip install -U hanlin", "请升级 Hanlin：pip install -U hanlin"),
        )
    if kind is not None and manifest.kind != kind:
        raise CheckpointError(
            Text(
                f"{folder} holds a {manifest.kind}, not a {kind}.",
                f"{folder} 的内容是 {manifest.kind}，而不是 {kind}。",
            ),
            Text(f"Give a folder that holds a {kind}.", f"请给出内容为 {kind} 的目录。"),
        )
    return manifest


def verify_files(folder: Path, manifest: Manifest) -> None:
    """Check every file's checksum; raise `CheckpointError` naming the first that is missing or changed."""
    for name, expected in manifest.files.items():
        path = folder / name
        if not path.is_file() or sha256(path) != expected:
            raise CheckpointError(
                Text(
                    f"{path} is {'damaged (its checksum differs)' if path.is_file() else 'missing'}.",
                    f"{path} {'已损坏（校验和不符）' if path.is_file() else '不存在'}。",
                ),
                Text(
                    "Restore the folder from a copy, or make it again.",
                    "请从备份恢复该目录，或重新生成。",
                ),
            )
