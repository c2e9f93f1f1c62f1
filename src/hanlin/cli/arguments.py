"""What verbs share: arguments that several take, and how they print."""

import json
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter, validators

Overrides = Annotated[str, Parameter(help="Settings that differ from the recipe, such as model.layers=6.")]
RecipePath = Annotated[Path, Parameter(help="The recipe, a YAML file.")]
ModelPath = Annotated[
    Path,
    Parameter(
        help="A model folder, the folder of a run, a .gguf file, or a name such as smollm2-135m-instruct."
    ),
]
Json = Annotated[bool, Parameter(negative=(), help="Print JSON for programs.")]
Processes = Annotated[
    int,
    Parameter(
        help="Processes that train together on this machine; on GPUs, one for each.",
        validator=validators.Number(gte=1),
    ),
]
Fresh = Annotated[bool, Parameter(negative=(), help="Throw an earlier training run in this folder away.")]


def without_defaults(**values: Any) -> dict[str, Any]:
    """What the user has set."""
    return {name: value for name, value in values.items() if value is not None}


def as_json(value: Any, indent: int | None = 1) -> str:
    """For programs."""
    return json.dumps(value, ensure_ascii=False, indent=indent, default=str)


def print_report(report: dict[str, Any], folder: Path, json: bool) -> None:
    """What a stage says of its folder, or only where that is."""
    print(as_json(report) if json else folder)
