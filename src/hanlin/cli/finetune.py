"""The verb `finetune`: a recipe, or a task with its files."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from hanlin.base.progress import console
from hanlin.cli.arguments import Fresh, Json, as_json, without_defaults

Files = Annotated[tuple[Path, ...], Parameter(negative=())]


def finetune(
    recipe: Annotated[
        str, Parameter(help="A recipe (.yaml), or a kind of task: classify, pair, regress, tag, answer ...")
    ],
    *overrides: Annotated[str, Parameter(help="Settings such as training.epochs=5 or task.max_tokens=128.")],
    model: Annotated[str | None, Parameter(help="The model to begin with: a folder or a name.")] = None,
    folder: Annotated[Path | None, Parameter(help="Where to write; default: runs/KIND.")] = None,
    train: Annotated[
        Files, Parameter(help="A file or folder of training records; may be given several times.")
    ] = (),
    valid: Annotated[
        Files, Parameter(help="Files to choose the best step by; default: a part of train.")
    ] = (),
    test: Annotated[Files, Parameter(help="Files to examine; default: a part of train.")] = (),
    method: Annotated[
        str | None,
        Parameter(help="full, lora, prompt-tuning, verbalizer, zero-shot or few-shot; default: full."),
    ] = None,
    text: Annotated[
        str | None, Parameter(help="The column of the text (or question, source, words).")
    ] = None,
    pair: Annotated[str | None, Parameter(help="The column of the second text.")] = None,
    label: Annotated[str | None, Parameter(help="The column of the answer.")] = None,
    column: Annotated[
        tuple[str, ...], Parameter(negative=(), help="Other fields and their columns, such as source=en.")
    ] = (),
    look_only: Annotated[bool, Parameter(negative=(), help="Only show what would be learned from.")] = False,
    fresh: Fresh = False,
    json: Json = False,
) -> None:
    """Teach a model a task from records, and examine it."""
    from hanlin.stages.finetune import run_finetune
    from hanlin.stages.finetune_recipe import read_finetune_recipe

    columns = without_defaults(text=text, pair=pair, label=label)
    columns |= {field: name for field, _, name in (one.partition("=") for one in column)}
    data = without_defaults(
        train=_paths(train), valid=_paths(valid), test=_paths(test), columns=columns or None
    )
    given = without_defaults(
        model=model,
        folder=None if folder is None else str(folder),
        task=None if method is None else {"method": method},
        data=data or None,
    )
    chosen = read_finetune_recipe(recipe, overrides, given)
    report = run_finetune(chosen, fresh=fresh, look_only=look_only)
    if look_only:
        return
    if json:
        print(as_json(report.values()))
        return
    for line in report.lines():
        console.print(line, markup=False, soft_wrap=True)
    print(chosen.folder)


def _paths(files: tuple[Path, ...]) -> list[str] | None:
    return [str(path) for path in files] or None
