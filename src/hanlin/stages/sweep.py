"""`hanlin sweep`: the settings that a recipe wants tried, each a whole run, and which of them did best."""

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout
from omegaconf import OmegaConf
from rich.markup import escape

from hanlin.base.errors import ConfigError, DataError, TrainingError
from hanlin.base.files import write_text
from hanlin.base.interrupt import Interrupted
from hanlin.base.language import Text, speaks_chinese
from hanlin.base.lock import locked
from hanlin.base.progress import console, page
from hanlin.evaluate.scaling_page import law_sentences, laws_of
from hanlin.evaluate.sweep_page import legend, sweep_table, write_sweep_page
from hanlin.evaluate.sweep_results import Law, Sweep, Trial, describe
from hanlin.stages.checks import check_earlier_training
from hanlin.stages.current import differences
from hanlin.stages.doctor import machine_line
from hanlin.stages.recipe import Recipe
from hanlin.stages.run import run_recipe
from hanlin.stages.study import JOURNAL, Study, import_optuna
from hanlin.stages.sweep_check import check_sweep
from hanlin.stages.sweep_trial import Job, as_overrides, run_trial, trial_folder
from hanlin.stages.workers import Died, work_through
from hanlin.trainer.sweep import SweepConfig

_MAY_CHANGE = ("trials", "processes")
_SECONDS_TO_END = 60.0
"""How long a trial of a sweep that was killed may take to stop."""


def run_sweep(path: Path, overrides: Sequence[str] = (), fresh: bool = False) -> tuple[Recipe, Sweep]:
    """Try every setting that the recipe asks for, or go on where an earlier sweep of it stopped; write `sweep/`.

    fresh: throw an earlier sweep in the folder away. Raises `ConfigError` for a parameter, value or metric that cannot
    be, before anything runs, and if the folder holds another sweep; `TrainingError` if no trial came to its end;
    `Interrupted` after Ctrl-C, with what was finished kept and running trials saved.
    """
    import_optuna()
    recipe, config = check_sweep(path, overrides)
    folder = recipe.places.sweep
    with locked(folder):
        if fresh:
            _clear(folder)
        _check_same_sweep(folder, path, overrides)
        check_earlier_training(recipe)
        run_recipe(recipe, "corpus", "corpus")
        write_text(
            folder / "recipe.yaml", yaml.safe_dump(_raw(path, overrides), allow_unicode=True, sort_keys=False)
        )
        trials = _Search(folder, config).run()
        sweep = _put_together(recipe, config, trials)
        _write(recipe, sweep)
    if sweep.best is None:
        raise _nothing_finished(trials, folder)
    return recipe, sweep


def print_sweep(recipe: Recipe, sweep: Sweep) -> None:
    """The table, what it means, and where page and best recipe are, on standard output."""
    out = page()
    out.print(sweep_table(sweep))
    laws = [sentence for law in sweep.laws for sentence in law_sentences(law)]
    for sentence in (*legend(sweep), *laws):
        out.print(f"\n{sentence}")
    for name in ("best.yaml", "report.html"):
        out.print(f"\n{recipe.places.sweep / name}")


class _Search:
    """The trials of one sweep, in its folder."""

    def __init__(self, folder: Path, config: SweepConfig) -> None:
        self._folder, self._config = folder, config
        self._study = Study(folder, config)
        self._unfinished = [number for number, ended in self._study.begun() if not ended]
        for number in self._unfinished:
            _wait_for_end(trial_folder(folder, number))

    def run(self) -> list[Trial]:
        """Run what is not finished; all trials by number."""
        try:
            for job, outcome in work_through(run_trial, self._jobs(), self._config.processes):
                self._note(job, outcome)
        except Interrupted:
            done, total = len(self._records()), self._config.count + (self._config.held_out is not None)
            console.print(
                str(
                    Text(
                        f"Stopped with {done} of {total} trials finished. The same command goes on from there.",
                        f"已停止，{total} 个试验完成了 {done} 个。再次运行同一命令即可继续。",
                    )
                )
            )
            raise
        return self._records()

    def _jobs(self) -> Iterator[Job]:
        """Trials that a kill has left, the one that is held out, being the longest as a rule, then new ones."""
        for number in self._unfinished:
            yield self._job(number, self._study.setting(number))
        held_out = self._config.held_out
        if held_out is not None and not _record_of(trial_folder(self._folder, None)).is_file():
            yield self._job(self._config.count, held_out, held_out=True)
        while len(self._study.begun()) < self._config.count:
            number = self._study.ask()
            yield self._job(number, self._study.setting(number))

    def _job(self, number: int, setting: dict[str, Any], held_out: bool = False) -> Job:
        job = Job(number, setting, self._folder, self._config, held_out)
        _say(job, f"{describe(setting)} {Text('...', '……')}")
        return job

    def _note(self, job: Job, outcome: Trial | Died) -> None:
        """Keep a trial's record; the file first, so that a kill between the two only repeats the trial's last moment."""
        trial = outcome if isinstance(outcome, Trial) else _died(job, outcome)
        write_text(_record_of(job.folder), trial.model_dump_json(indent=1) + "\n")
        if not job.held_out:
            self._study.tell(trial)
        said = (
            f"{self._config.metric} {trial.value:.4f}"
            if trial.state == "finished"
            else f"{trial.state}: {trial.reason}"
        )
        _say(job, f"{said}, {trial.seconds:.0f} s")

    def _records(self) -> list[Trial]:
        ended = [number for number, is_ended in self._study.begun() if is_ended]
        paths = [_record_of(trial_folder(self._folder, number)) for number in (*ended, None)]
        return [Trial.model_validate_json(path.read_text("utf-8")) for path in paths if path.is_file()]


def _record_of(folder: Path) -> Path:
    return folder / "trial.json"


def _say(job: Job, what: str) -> None:
    console.print(f"[bold]{job.folder.name:<10}[/] {escape(what)}", soft_wrap=True)


def _died(job: Job, death: Died) -> Trial:
    reason = Text(
        f"its process was ended by {death.how}; the system does that when memory runs out",
        f"其进程被 {death.how} 终止；内存耗尽时系统会这样做",
    )
    return Trial(
        number=job.number, setting=job.setting, state="failed", held_out=job.held_out, reason=str(reason)
    )


def _wait_for_end(folder: Path) -> None:
    """A trial whose sweep was killed stops after its step; until then it holds its folder.

    Raises `ConfigError` if it still does after a minute.
    """
    for lock in folder.rglob(".lock"):
        with contextlib.suppress(Timeout), FileLock(lock).acquire(timeout=_SECONDS_TO_END):
            pass
        with locked(lock.parent):
            pass


def _raw(path: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """What the recipe says, without defaults: settings that follow from others follow in each trial anew."""
    tree = OmegaConf.merge(OmegaConf.load(path), OmegaConf.from_dotlist(list(overrides)))
    values = OmegaConf.to_container(tree, resolve=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def _check_same_sweep(folder: Path, path: Path, overrides: Sequence[str]) -> None:
    """Raise `ConfigError` if the folder holds trials of another recipe."""
    if not (folder / JOURNAL).exists():
        return
    found = yaml.safe_load((folder / "recipe.yaml").read_text("utf-8"))
    wanted = _raw(path, overrides)
    changed = [
        line
        for line in differences(found, wanted)
        if not line.startswith(tuple(f"sweep.{name}:" for name in _MAY_CHANGE))
    ]
    if changed:
        lines = "\n  ".join(changed)
        raise ConfigError(
            Text(
                f"{folder} holds a sweep of other settings:\n  {lines}",
                f"{folder} 中是另一组设置的搜索：\n  {lines}",
            ),
            Text(
                "Restore those settings to go on with it, set another folder=..., or throw it away: "
                "hanlin sweep RECIPE --fresh",
                "请恢复上述设置以继续，或另设 folder=……，或丢弃它：hanlin sweep 配方 --fresh",
            ),
        )


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != ".lock":
            path.unlink()


def _put_together(recipe: Recipe, config: SweepConfig, trials: list[Trial]) -> Sweep:
    assert config.metric is not None
    assert config.better is not None
    sweep = Sweep(
        metric=config.metric, better=config.better, repeats=config.repeats, trials=tuple(trials), best=None
    )
    laws: tuple[Law, ...] = ()
    no_law = ""
    if config.fit is not None:
        try:
            laws = laws_of(trials)
        except DataError as error:
            no_law = str(error)
    best = sweep.finished[0].number if sweep.finished else None
    importance = Study(recipe.places.sweep, config).importance()
    return sweep.model_copy(update={"best": best, "importance": importance, "laws": laws, "no_law": no_law})


def _write(recipe: Recipe, sweep: Sweep) -> None:
    folder = recipe.places.sweep
    write_text(folder / "sweep.json", sweep.model_dump_json(indent=1) + "\n")
    write_sweep_page(
        folder / "report.html", sweep, recipe.folder.name, machine_line(), "zh" if speaks_chinese() else "en"
    )
    if sweep.best is None:
        return
    best = sweep.finished[0]
    values = _raw(folder / "recipe.yaml", as_overrides(best.setting))
    values = {**values, "folder": f"{recipe.folder}-best"}
    values.pop("sweep", None)
    head = f"# {describe(best.setting)}: {sweep.metric} {best.value:.4f}, the best of {len(sweep.trials)} trials.\n"
    write_text(folder / "best.yaml", head + yaml.safe_dump(values, allow_unicode=True, sort_keys=False))


def _nothing_finished(trials: list[Trial], folder: Path) -> TrainingError:
    reasons = "\n  ".join(sorted({f"{trial.state}: {trial.reason}" for trial in trials}))
    return TrainingError(
        Text(f"None of {len(trials)} trials came to its end:\n  {reasons}", f"{len(trials)} 个试验均未完成：\n  {reasons}"),
        Text(f"Each says more in {folder}/trial-*/log.txt. Mend the recipe, and begin anew with --fresh.",
             f"详情见 {folder}/trial-*/log.txt。请修改配方，并以 --fresh 重新开始。"),
    )  # fmt: skip
