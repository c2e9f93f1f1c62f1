"""Text from one call, for a script or a prompt; whoever asks twice had better keep the model: `load`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

from hanlin.base.device import DeviceName
from hanlin.generate.completion import Completion
from hanlin.generate.language_model import load


@overload
def complete(
    prompt: str, *, model: Path | str, device: DeviceName = ..., **parameters: Any
) -> Completion: ...


@overload
def complete(
    prompt: Sequence[str], *, model: Path | str, device: DeviceName = ..., **parameters: Any
) -> list[Completion]: ...


def complete(
    prompt: str | Sequence[str], *, model: Path | str, device: DeviceName = "auto", **parameters: Any
) -> Completion | list[Completion]:
    """Continue a text, or several together, by a model that is opened for it. Raises as `load` and
    `LanguageModel.generate`."""
    return load(model, device).generate(prompt, **parameters)
