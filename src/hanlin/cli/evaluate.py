"""The verb `evaluate`: the run of a recipe, or a model by tasks."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from hanlin.base.errors import ConfigError
from hanlin.base.language import Text
from hanlin.base.progress import console
from hanlin.cli.arguments import Json, as_json


def evaluate(
    target: Annotated[
        str, Parameter(help="A recipe (.yaml) whose run is examined; with --tasks or --data, a model.")
    ],
    *overrides: Annotated[
        str, Parameter(help="Settings that differ from the recipe, such as evaluate.split=valid.")
    ],
    tasks: Annotated[
        tuple[str, ...],
        Parameter(
            negative=(),
            help="Task files (.yaml) or names of lm-evaluation-harness, with commas between or given several times.",
        ),
    ] = (),
    data: Annotated[
        tuple[Path, ...],
        Parameter(
            negative=(),
            help="A file by which a fine-tuned folder is examined in its own task; may be given several times.",
        ),
    ] = (),
    shots: Annotated[
        str | None, Parameter(help="Training records in the prompt, one number or several: 0,1,2,4,8.")
    ] = None,
    seeds: Annotated[int, Parameter(help="Draws of these records, for each number of them.")] = 3,
    orders: Annotated[int, Parameter(help="Orders in which the most of them are tried.")] = 0,
    limit: Annotated[int | None, Parameter(help="Records of each task at most, drawn at random.")] = None,
    chat: Annotated[
        bool, Parameter(negative=(), help="Ask tasks of the harness in the model's conversation template.")
    ] = False,
    folder: Annotated[Path | None, Parameter(help="Where to write; default: evaluations/MODEL.")] = None,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    json: Json = False,
) -> None:
    """Examine the trained model of a recipe on held-out text, or any model by tasks, and write the report."""
    if not tasks and not data:
        _recipe(Path(target), overrides, json)
        return
    from hanlin.stages.evaluate_tasks import Manner, run_evaluate_tasks

    if overrides:
        raise ConfigError(
            Text(f"{overrides[0]} belongs to no recipe: with --tasks or --data a model is examined.",
                 f"{overrides[0]} 不属于任何配方：有 --tasks 或 --data 时考核的是模型。"),
            Text("Set it in the task file.", "请在任务文件中设置。"),
        )  # fmt: skip
    named = tuple(name for one in tasks for name in one.split(",") if name)
    manner = Manner(_numbers(shots), seeds, orders, limit, chat, device)
    found = run_evaluate_tasks(target, named, data, folder, manner)
    if json:
        print(as_json(found.values()))
        return
    for line in found.lines():
        console.print(line, markup=False, soft_wrap=True)
    print(found.folder)


def _recipe(recipe: Path, overrides: tuple[str, ...], json: bool) -> None:
    from hanlin.stages.evaluate import read_examination, run_evaluate
    from hanlin.stages.recipe import read_recipe
    from hanlin.stages.summary import summary_lines

    chosen = read_recipe(recipe, overrides)
    run_evaluate(chosen)
    results = read_examination(chosen)
    print(results.model_dump_json(indent=1) if json else "\n".join(summary_lines(chosen)))


def _numbers(shots: str | None) -> tuple[int, ...]:
    """The numbers of `--shots`, each once. Raises `ConfigError` for what is no number."""
    parts = [] if shots is None else shots.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise ConfigError(
            Text(f"--shots {shots} is no list of whole numbers.", f"--shots {shots} 不是整数列表。"),
            Text("Write it as 0,1,2,4,8.", "请写成 0,1,2,4,8 的形式。"),
        )
    return tuple(sorted({int(part) for part in parts}))
