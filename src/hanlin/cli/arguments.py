"""What verbs share: arguments that several take, and how they print."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

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
Device = Literal["auto", "cpu", "cuda", "mps"]
EngineName = Annotated[
    Literal["auto", "kernel", "torch", "llamacpp", "vllm"],
    Parameter(help="What computes; auto takes the best that can."),
]
Weights = Annotated[
    Literal["auto", "float32", "int8", "int4"], Parameter(help="Their numbers; auto leaves them as stored.")
]
AdapterFolders = Annotated[
    tuple[str, ...],
    Parameter(negative=(), help="An adapter, as name=folder or folder; may be given several times."),
]
Others = Annotated[
    tuple[str, ...],
    Parameter(negative=(), help="Any other parameter of docs/generate.md, such as --typical-p 0.9."),
]
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


def other_parameters(others: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    """Parameters that a verb does not list itself; one value as it is, or as JSON where it is an object or a list."""
    from hanlin.base.config import json_or_text

    return {
        name.replace("-", "_"): json_or_text(texts[0]) if len(texts) == 1 else texts
        for name, texts in others.items()
    }


def adapter_folders(given: tuple[str, ...]) -> dict[str, Path]:
    """Adapters by name: what stands before =, or the folder's own."""
    pairs = (
        (name, Path(folder)) if equals else (Path(name).name, Path(name))
        for name, equals, folder in (one.partition("=") for one in given)
    )
    return dict(pairs)


def as_json(value: Any, indent: int | None = 1) -> str:
    """For programs."""
    return json.dumps(value, ensure_ascii=False, indent=indent, default=str)


def print_report(report: dict[str, Any], folder: Path, json: bool) -> None:
    """What a stage says of its folder, or only where that is."""
    print(as_json(report) if json else folder)
