"""`hanlin show`: what a folder holds, from its manifest and its model settings."""

from pathlib import Path
from typing import Any

from hanlin.base.manifest import NAME, read_manifest
from hanlin.checkpoint.folder import find_model
from hanlin.checkpoint.recognize import read_config
from hanlin.model import count


def describe_folder(folder: Path) -> dict[str, Any]:
    """Manifest, stages inside and, for a model, its counts; `CheckpointError` if there is none of them."""
    description: dict[str, Any] = {"folder": str(folder)}
    if (folder / NAME).is_file():
        manifest = read_manifest(folder)
        description |= {"kind": manifest.kind, "fingerprint": manifest.fingerprint, "inputs": manifest.inputs}
        description |= {"config": manifest.config, "files": sorted(manifest.files), "report": manifest.report}
    model = find_model(folder)
    if (model / "config.json").is_file():
        description["model"] = {"folder": str(model), **_describe_model(model)}
    stages = {path.parent.name: read_manifest(path.parent).kind for path in sorted(folder.glob(f"*/{NAME}"))}
    if stages:
        description["stages"] = stages
    if len(description) == 1:
        read_manifest(folder)  # raises, saying what is missing
    return description


def _describe_model(folder: Path) -> dict[str, Any]:
    family, config = read_config(folder)
    return {
        "family": family.name,
        "settings": config.model_dump(),
        "parameters": count.parameters(config),
        "float32_bytes": 4 * count.parameters(config),
        "cache_bytes_per_token": count.cache_bytes_per_token(config),
        "forward_flops_per_token": count.forward_flops_per_token(config, config.window),
    }
