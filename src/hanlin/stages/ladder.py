"""`hanlin ladder`: every kind of language model on one corpus under one budget, from counting to the Transformer."""

import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

from rich.console import Console

from hanlin.base.errors import ConfigError
from hanlin.base.files import atomic_folder, write_text
from hanlin.base.language import Text, speaks_chinese
from hanlin.base.lock import locked
from hanlin.base.manifest import write_manifest
from hanlin.base.progress import console
from hanlin.evaluate.bootstrap import difference_interval
from hanlin.evaluate.examine import choose_documents
from hanlin.evaluate.ladder import Ladder, Rung, RungName
from hanlin.evaluate.ladder_report import ladder_table, legend, write_ladder_report
from hanlin.evaluate.recall import SYMBOLS
from hanlin.evaluate.results import Difference
from hanlin.stages.checks import check_splits
from hanlin.stages.current import current_manifest
from hanlin.stages.doctor import machine_line
from hanlin.stages.evaluate import held_out
from hanlin.stages.objectives import objective_configs
from hanlin.stages.pretrain import run_tokens
from hanlin.stages.recipe import Recipe
from hanlin.stages.run import run_recipe
from hanlin.stages.rungs import Climb

KIND = "ladder"
RUNG = "ladder rung"
_EXAMINATION = ("split", "max_documents", "max_bytes", "ngram_order", "ngram_max_tokens", "resamples", "seed")
"""The settings of `evaluate:` that a rung depends on."""


def run_ladder(recipe: Recipe) -> Ladder:
    """Make corpus, tokenizer and tokens where they are not current, climb, and write `ladder/`.

    A rung that is finished and current is not trained again. Raises `Interrupted` after Ctrl-C; what was
    finished stays. Raises `ConfigError` for a recipe with another objective than causal.
    """
    _check_causal(recipe)
    check_splits(recipe)
    run_recipe(recipe, "corpus", "tokenizer")
    store = run_tokens(recipe)
    with locked(recipe.folder):
        climb = Climb(recipe, store, choose_documents(held_out(recipe, store), recipe.evaluate))
        rungs = [_rung(recipe, climb, name) for name in recipe.ladder.rungs]
        ladder = _put_together(recipe, rungs)
        folder = recipe.places.ladder
        write_text(folder / "results.json", ladder.model_dump_json(indent=1) + "\n")
        write_ladder_report(
            folder / "report.html",
            ladder,
            recipe.folder.name,
            machine_line(),
            "zh" if speaks_chinese() else "en",
        )
        write_manifest(folder, KIND, recipe.dump("ladder"), {"tokens": store.fingerprint})
    return ladder


def _check_causal(recipe: Recipe) -> None:
    kinds = [config.kind for config in objective_configs(recipe)]
    if kinds != ["causal"]:
        raise ConfigError(
            Text(
                f"The ladder compares causal language models; this recipe trains {', '.join(kinds)}.",
                f"ladder 比较的是因果语言模型，而此配方训练的是 {'、'.join(kinds)}。",
            ),
            Text("Use a recipe with pretrain.objective=causal.", "请使用 pretrain.objective=causal 的配方。"),
        )


def rung_folder(recipe: Recipe, name: RungName) -> Path:
    """Where a rung lives."""
    return recipe.places.ladder / "rungs" / name


def _rung(recipe: Recipe, climb: Climb, name: RungName) -> Rung:
    """The rung from its folder if that is current, else from training."""
    folder, config = rung_folder(recipe, name), _identity(recipe, climb, name)
    inputs = {"tokens": climb.store.fingerprint}
    if current_manifest(folder, RUNG, config, inputs) is not None:
        console.print(f"[bold]{name:<14}[/] {Text('is current', '无需重做')}")
        return Rung.model_validate_json((folder / "rung.json").read_text("utf-8"))
    console.print(f"[bold]{name:<14}[/] {Text('...', '……')}")
    rung = climb.rung(name)
    with atomic_folder(folder) as fresh:
        write_text(fresh / "rung.json", rung.model_dump_json() + "\n")
        write_manifest(fresh, RUNG, config, inputs)
    console.print(
        f"[bold]{name:<14}[/] {rung.figures.bits_per_byte:.3f} {Text('bits per byte', '比特/字节')}, "
        f"{rung.cost.seconds:.0f} s"
    )
    return rung


def _identity(recipe: Recipe, climb: Climb, name: RungName) -> dict[str, Any]:
    """Everything that a rung depends on but the tokens; networks depend on more than counting does."""
    examination = {key: value for key, value in recipe.dump("evaluate").items() if key in _EXAMINATION}
    identity = {"name": name, "model": climb.settings(name), "evaluate": examination}
    probes = {key: value for key, value in recipe.dump("ladder").items() if key != "rungs"}
    if name == "uniform":
        return identity
    if name == "n-gram":
        return {**identity, "ladder": {key: probes[key] for key in probes if key.startswith("recall_")}}
    return {**identity, "pretrain": recipe.dump("pretrain"), "ladder": probes}


def _put_together(recipe: Recipe, rungs: list[Rung]) -> Ladder:
    config = recipe.evaluate
    differences = tuple(
        Difference(
            first=upper.name,
            second=lower.name,
            bits_per_byte=upper.figures.bits_per_byte - lower.figures.bits_per_byte,
            interval=difference_interval(
                upper.scores.arrays(), lower.scores.arrays(), config.resamples, config.seed
            ),
        )
        for lower, upper in pairwise(rungs)
    )
    return Ladder(
        config=recipe.ladder,
        split=config.split,
        documents=len(rungs[0].scores.bytes),
        bytes=sum(rungs[0].scores.bytes),
        recall_chance=1 / SYMBOLS,
        rungs=tuple(rungs),
        differences=differences,
    )


def print_ladder(ladder: Ladder, folder: Path) -> None:
    """The table, what it means, and where the page is, on standard output."""
    page = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    page.print(ladder_table(ladder))
    for sentence in legend(ladder):
        page.print(f"\n{sentence}", markup=False)
    page.print(f"\n{folder / 'report.html'}", markup=False, soft_wrap=True)
