"""Verbs that read a recipe; each imports its stage when called."""

from typing import Annotated

from cyclopts import Parameter

from hanlin.base.language import Text
from hanlin.base.progress import console
from hanlin.cli.arguments import Fresh, Json, Overrides, Processes, RecipePath, as_json, print_report


def run(
    recipe: RecipePath,
    *overrides: Overrides,
    from_: Annotated[str | None, Parameter(name="--from", help="First stage to run.")] = None,
    to: Annotated[str | None, Parameter(help="Last stage to run.")] = None,
    dry_run: Annotated[bool, Parameter(negative=(), help="Only say what would be done.")] = False,
) -> None:
    """Walk all stages of a recipe: corpus, tokenizer, pretrain, evaluate."""
    from hanlin.stages.recipe import read_recipe
    from hanlin.stages.run import dry_run as plan_stages
    from hanlin.stages.run import run_recipe
    from hanlin.stages.summary import summary_lines

    chosen = read_recipe(recipe, overrides)
    if dry_run:
        for verb, would_run in plan_stages(chosen, from_, to).items():
            print(
                f"{verb:<10} {Text('would run', '将会运行') if would_run else Text('is current', '无需重做')}"
            )
        return
    run_recipe(chosen, from_, to)
    if to in (None, "evaluate"):
        print("\n".join(summary_lines(chosen)))


def plan(recipe: RecipePath, *overrides: Overrides, processes: Processes = 1, json: Json = False) -> None:
    """Say parameters, tokens, memory and time of a recipe on this machine."""
    from hanlin.stages.plan import make_plan, plan_lines, plan_values
    from hanlin.stages.recipe import read_recipe

    made = make_plan(read_recipe(recipe, overrides), processes)
    print(as_json(plan_values(made)) if json else "\n".join(plan_lines(made)))


def corpus(recipe: RecipePath, *overrides: Overrides, json: Json = False) -> None:
    """Read, clean, deduplicate, scrub and split text."""
    from hanlin.stages.corpus import run_corpus
    from hanlin.stages.recipe import read_recipe

    chosen = read_recipe(recipe, overrides)
    print_report(run_corpus(chosen).report, chosen.places.corpus, json)


def tokenizer(recipe: RecipePath, *overrides: Overrides, json: Json = False) -> None:
    """Train a tokenizer on the corpus."""
    from hanlin.stages.recipe import read_recipe
    from hanlin.stages.tokenizer import run_tokenizer

    chosen = read_recipe(recipe, overrides)
    print_report(run_tokenizer(chosen).report, chosen.places.tokenizer, json)


def pretrain(
    recipe: RecipePath,
    *overrides: Overrides,
    processes: Processes = 1,
    fresh: Fresh = False,
    json: Json = False,
) -> None:
    """Train a model, in one process or several; a stopped run goes on where it was."""
    from hanlin.base.distributed import joined, rank
    from hanlin.evaluate.pretrain_page import report_lines
    from hanlin.stages.launch import pretrain_in_processes
    from hanlin.stages.recipe import read_recipe

    with joined():  # if torchrun has started this process as one of several
        chosen = read_recipe(recipe, overrides)
        manifest = pretrain_in_processes(chosen, fresh, processes)
        if rank() == 0:
            for line in report_lines(manifest.report):
                console.print(line, markup=False)
            print_report(manifest.report, chosen.places.model, json)


def ladder(recipe: RecipePath, *overrides: Overrides, json: Json = False) -> None:
    """Hold n-gram, feed-forward, recurrent and Transformer models against each other under one budget."""
    from hanlin.stages.ladder import print_ladder, run_ladder
    from hanlin.stages.recipe import read_recipe

    chosen = read_recipe(recipe, overrides)
    found = run_ladder(chosen)
    if json:
        print(found.model_dump_json(indent=1))
    else:
        print_ladder(found, chosen.places.ladder)


def find_rate(
    recipe: RecipePath,
    *overrides: Overrides,
    steps: Annotated[int, Parameter(help="Steps of the short run.")] = 100,
    lowest: Annotated[float, Parameter(help="The learning rate that it begins with.")] = 1e-6,
    highest: Annotated[float, Parameter(help="The learning rate that it ends with.")] = 1.0,
    json: Json = False,
) -> None:
    """Suggest a learning rate: a short run whose rate grows, with a table and a page."""
    from hanlin.stages.find_rate import print_rates, rate_values, run_find_rate
    from hanlin.stages.recipe import read_recipe

    chosen = read_recipe(recipe, overrides)
    found = run_find_rate(chosen, steps, lowest, highest)
    if json:
        print(as_json(rate_values(chosen, found)))
    else:
        print_rates(chosen, found)


def sweep(
    recipe: RecipePath,
    *overrides: Overrides,
    fresh: Annotated[
        bool, Parameter(negative=(), help="Throw an earlier sweep in this folder away.")
    ] = False,
    json: Json = False,
) -> None:
    """Try every setting that the recipe's sweep: section asks for; a stopped sweep goes on where it was."""
    from hanlin.stages.sweep import print_sweep, run_sweep

    chosen, found = run_sweep(recipe, overrides, fresh)
    if json:
        print(found.model_dump_json(indent=1))
    else:
        print_sweep(chosen, found)
