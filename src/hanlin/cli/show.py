"""`hanlin show` and `hanlin doctor`: what folders, models and this machine hold."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from hanlin.cli.arguments import Json, ModelPath, as_json

show = App(
    name="show", help="Say what a folder holds, what a model is made of, or what its attention looks at."
)


@show.default
def show_folder(
    folder: Annotated[Path, Parameter(help="Any folder that Hanlin wrote, or a model folder.")],
) -> None:
    """Say what a folder holds."""
    from hanlin.stages.show import describe_folder

    print(as_json(describe_folder(folder)))


@show.command(name="model")
def show_model(model: ModelPath, *, json: Json = False) -> None:
    """Family, settings, parameter table, memory by dtype, cache and operations by token."""
    from hanlin.stages.show_model import describe_model, print_model

    description = describe_model(model)
    if json:
        print(as_json(description))
    else:
        print_model(description)


@show.command(name="attention")
def show_attention(model: ModelPath, text: str, *, layer: int = 0, head: int = 0, json: Json = False) -> None:
    """What one head of one block looks at in a text: vectors, scores, weights, result."""
    from hanlin.stages.show_attention import attention_of, attention_values, print_attention

    shown = attention_of(model, text, layer, head)
    if json:
        print(as_json(attention_values(shown)))
    else:
        print_attention(shown)


def doctor(*, json: Json = False) -> None:
    """Say what this machine has, what works here, what is missing and how to get it."""
    from dataclasses import asdict

    from hanlin.stages.doctor import examine_machine

    findings = examine_machine(Path.cwd())
    if json:
        print(as_json([asdict(finding) for finding in findings]))
        return
    for finding in findings:
        print(f"{finding.name:<24} {finding.value}")
        if finding.remedy:
            print(f"{'':<24} -> {finding.remedy}")
