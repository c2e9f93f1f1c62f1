"""Which model exactly something was made from, whoever wrote it."""

import hashlib
from pathlib import Path

from hanlin.base.files import sha256
from hanlin.base.manifest import NAME, read_manifest
from hanlin.checkpoint.folder import find_model


def model_fingerprint(model: str) -> str:
    """16 hexadecimal digits of a model's weights and settings: from its manifest, or its files if it has none."""
    folder = find_model(Path(model))
    if (folder / NAME).is_file():
        return read_manifest(folder).fingerprint
    files = [folder] if folder.is_file() else [*sorted(folder.glob("*.safetensors")), folder / "config.json"]
    together = "".join(f"{path.name} {sha256(path)}\n" for path in files if path.is_file())
    return hashlib.sha256(together.encode()).hexdigest()[:16]
