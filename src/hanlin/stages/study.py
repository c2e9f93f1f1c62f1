"""Optuna as the memory and the chooser of a sweep: which settings have been tried, which is next, what falls behind."""

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from hanlin.base.errors import MissingExtra
from hanlin.base.language import Text
from hanlin.evaluate.sweep_results import Trial
from hanlin.trainer.sweep import Range, SweepConfig

if TYPE_CHECKING:
    import optuna

JOURNAL = "journal.log"
_NAME = "sweep"
_FEWEST_FOR_IMPORTANCE = 10


def import_optuna() -> Any:
    """The library; raises `MissingExtra` if it is not installed."""
    try:
        import optuna
    except ImportError as error:
        raise MissingExtra(Text("Searching settings", "搜索设置"), "search") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


class Study:
    """The journal of a sweep's folder; several processes may have it open, one of them asks and tells.

    What is asked for as number n depends on the seed, n, and the trials told before: a sweep that goes on after a kill
    asks for what it would have asked for.
    """

    def __init__(self, folder: Path, config: SweepConfig) -> None:
        self._optuna, self._config = import_optuna(), config
        backend = self._optuna.storages.journal.JournalFileBackend(str(folder / JOURNAL))
        self._study = self._optuna.create_study(
            storage=self._optuna.storages.JournalStorage(backend),
            study_name=_NAME,
            direction="maximize" if config.better == "higher" else "minimize",
            pruner=self._pruner(),
            load_if_exists=True,
        )

    def begun(self) -> list[tuple[int, bool]]:
        """The number of each trial that was asked for, and whether its end was told."""
        waiting = self._optuna.trial.TrialState.WAITING
        return [(one.number, one.state.is_finished()) for one in self._study.trials if one.state != waiting]

    def ask(self) -> int:
        """Begin the next trial; its number."""
        number = len(self.begun())
        if self._config.sampler == "grid" and number == len(self._study.trials):
            point = self._config.grid()[number]
            self._study.enqueue_trial({name: json.dumps(value) for name, value in point.items()})
        self._study.sampler = self._sampler(number)
        return int(self._study.ask().number)

    def setting(self, number: int) -> dict[str, JsonValue]:
        """What a trial that has begun tries: chosen now, unless it was before a kill."""
        self._study.sampler = self._sampler(number)
        trial = self._trial(number)
        return {name: _suggest(trial, name, values) for name, values in self._config.parameters.items()}

    def falls_behind(self, number: int, step: int, value: float) -> bool:
        """Note the value of a running trial at a validation; whether it is to be given up."""
        trial = self._trial(number)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of a step that was noted before a kill
            trial.report(value, step)
        return bool(trial.should_prune())

    def tell(self, trial: Trial) -> None:
        """Note the end of a trial."""
        states = self._optuna.trial.TrialState
        state = {"finished": states.COMPLETE, "pruned": states.PRUNED, "failed": states.FAIL}[trial.state]
        self._study.tell(trial.number, trial.value if trial.state == "finished" else None, state=state)

    def importance(self) -> dict[str, float]:
        """The share of each parameter in whether a trial is among the best tenth (PED-ANOVA, arXiv 2304.10255).

        Empty for one parameter, and where a tenth of the trials is none.
        """
        complete = self._study.get_trials(states=[self._optuna.trial.TrialState.COMPLETE])
        if len(complete) < _FEWEST_FOR_IMPORTANCE or len(self._config.parameters) < 2:
            return {}
        evaluator = self._optuna.importance.PedAnovaImportanceEvaluator()
        found = self._optuna.importance.get_param_importances(self._study, evaluator=evaluator)
        return {name: float(share) for name, share in found.items()}

    def _trial(self, number: int) -> "optuna.trial.Trial":
        trial: optuna.trial.Trial = self._optuna.trial.Trial(
            self._study, self._study.trials[number]._trial_id
        )
        return trial

    def _sampler(self, number: int) -> Any:
        """A sampler of its own for each trial: one that goes on after a kill would begin its draws anew."""
        seed = self._config.seed + number
        if self._config.sampler == "tpe":
            return self._optuna.samplers.TPESampler(seed=seed)
        return self._optuna.samplers.RandomSampler(seed=seed)

    def _pruner(self) -> Any:
        match self._config.pruner:
            case "median":
                return self._optuna.pruners.MedianPruner()
            case "hyperband":
                return self._optuna.pruners.HyperbandPruner()
            case None:
                return self._optuna.pruners.NopPruner()


def _suggest(trial: "optuna.trial.Trial", name: str, values: Any) -> JsonValue:
    if not isinstance(values, Range):
        choice: JsonValue = json.loads(
            trial.suggest_categorical(name, [json.dumps(value) for value in values])
        )
        return choice
    if values.whole:
        low, high = int(values.low), int(values.high)
        return trial.suggest_int(name, low, high, step=int(values.step or 1), log=values.log)
    return trial.suggest_float(name, values.low, values.high, step=values.step, log=values.log)
