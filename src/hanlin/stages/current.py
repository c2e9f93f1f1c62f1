"""Whether a stage's folder still is what its configuration and inputs would make."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hanlin.base.errors import CheckpointError, NewerFormatError
from hanlin.base.language import Text
from hanlin.base.manifest import Manifest, read_manifest, verify_files
from hanlin.base.progress import console


def current_manifest(
    folder: Path,
    kind: str,
    config: dict[str, Any],
    inputs: dict[str, str],
    as_today: Callable[[dict[str, Any]], dict[str, Any]] = dict,
) -> Manifest | None:
    """The manifest of `folder` if it was made from exactly this and is undamaged, else None; says why not.

    as_today: an earlier configuration with the settings that have come since.
    Raises `NewerFormatError`: what a newer Hanlin made is not made again over it.
    """
    if not folder.exists():
        return None
    try:
        manifest = read_manifest(folder, kind)
        verify_files(folder, manifest)
    except NewerFormatError:
        raise
    except CheckpointError as error:
        console.print(str(error.problem), highlight=False, markup=False)
        return None
    changed = differences(
        {"config": as_today(manifest.config), "inputs": manifest.inputs},
        {"config": config, "inputs": inputs},
    )
    if changed:
        console.print(f"{folder}: {'; '.join(changed)}", highlight=False, markup=False)
        return None
    return manifest


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """Every place where two JSON-like values differ, as 'path: old -> new'."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        return [
            line
            for key in keys
            for line in differences(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
        ]
    old, new = (list(value) if isinstance(value, tuple) else value for value in (old, new))
    return [] if old == new else [f"{path}: {old!r:.60} -> {new!r:.60}"]


def required_manifest(folder: Path, kind: str, verb: str) -> Manifest:
    """The manifest of an input folder; raise `CheckpointError` naming the verb that makes it."""
    if not folder.exists():
        raise CheckpointError(
            Text(f"{folder} is not there yet.", f"{folder} 还不存在。"),
            Text(
                f"Make it first: hanlin {verb} with the same recipe, or `hanlin run`.",
                f"请先用同一配方运行 hanlin {verb}，或运行 hanlin run。",
            ),
        )
    return read_manifest(folder, kind)
