"""`hanlin find-rate`: a short sweep that suggests a learning rate for a recipe, with a table and a page."""

import json
from typing import Any

from hanlin.base.device import choose_compute
from hanlin.base.errors import ConfigError
from hanlin.base.files import write_text
from hanlin.base.language import Text, speaks_chinese
from hanlin.base.lock import locked
from hanlin.base.memory import memory_errors
from hanlin.base.progress import page
from hanlin.base.seeds import seed_everything
from hanlin.evaluate.rate_page import rate_table, write_rate_page
from hanlin.model.assemble import build_model
from hanlin.stages.checks import check_trainable
from hanlin.stages.doctor import machine_line
from hanlin.stages.objectives import build_mixture
from hanlin.stages.pretrain import model_config, run_tokens
from hanlin.stages.recipe import Recipe
from hanlin.trainer.find_rate import RateSweep, find_rate


def run_find_rate(recipe: Recipe, steps: int, lowest: float, highest: float) -> RateSweep:
    """Sweep the learning rate of a recipe and write `find-rate/` in its folder; the training run is not touched.

    Raises `ConfigError` for a sweep that is none.
    """
    if not (steps >= 10 and 0 < lowest < highest):
        raise ConfigError(
            Text("A sweep needs at least 10 steps and 0 < lowest < highest.", "搜索至少需要 10 步，且 0 < lowest < highest。"),
            Text("For example: --steps 100 --lowest 1e-6 --highest 1.", "例如：--steps 100 --lowest 1e-6 --highest 1。"),
        )  # fmt: skip
    check_trainable(recipe)
    store = run_tokens(recipe)
    core = model_config(recipe, store)
    config = recipe.pretrain
    compute = choose_compute(config.device, config.precision)
    mixture = build_mixture(recipe, store)
    seed_everything(config.seed)
    with memory_errors():
        sweep = find_rate(
            lambda: build_model(core), mixture, config, compute, steps=steps, lowest=lowest, highest=highest
        )
    folder = recipe.folder / "find-rate"
    with locked(recipe.folder):
        write_text(folder / "results.json", json.dumps(rate_values(recipe, sweep), indent=1) + "\n")
        write_rate_page(
            folder / "report.html",
            sweep,
            recipe.folder.name,
            machine_line(),
            "zh" if speaks_chinese() else "en",
        )
    return sweep


def rate_values(recipe: Recipe, sweep: RateSweep) -> dict[str, Any]:
    """The sweep as JSON, with the settings that it suggests."""
    return {
        "suggested": suggested_settings(recipe, sweep),
        "why": str(sweep.why),
        "lowest_at": sweep.lowest_at,
        "rates": list(sweep.rates),
        "losses": list(sweep.losses),
        "smoothed": list(sweep.smoothed),
    }


def suggested_settings(recipe: Recipe, sweep: RateSweep) -> dict[str, float]:
    """The settings of `pretrain:` for the suggested rate; Muon's keeps its ratio to the other, as in the sweep."""
    if sweep.suggested is None:
        return {}
    settings = {"learning_rate": float(f"{sweep.suggested:.1e}")}
    if recipe.pretrain.optimizer == "muon":
        ratio = recipe.pretrain.muon_learning_rate / recipe.pretrain.learning_rate
        settings["muon_learning_rate"] = float(f"{sweep.suggested * ratio:.1e}")
    return settings


def print_rates(recipe: Recipe, sweep: RateSweep) -> None:
    """The table, what is suggested and why, and where the page is, on standard output."""
    out = page()
    out.print(rate_table(sweep))
    out.print(f"\n{sweep.why}")
    for name, value in suggested_settings(recipe, sweep).items():
        out.print(f"  pretrain.{name}={value:g}")
    out.print(f"\n{recipe.folder / 'find-rate' / 'report.html'}")
