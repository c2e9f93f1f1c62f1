"""What a sweep tries next depends on its seed and on what has been found, not on when it was killed."""

from pathlib import Path

import pytest

pytest.importorskip("optuna")

from hanlin.evaluate.sweep_results import Trial
from hanlin.stages.study import Study
from hanlin.trainer.sweep import SweepConfig


def config(**values: object) -> SweepConfig:
    parameters = {"x": {"low": 0.0, "high": 1.0}, "kind": ["good", "bad", [1, 2]]}
    return SweepConfig.model_validate(
        {"parameters": parameters, "sampler": "tpe", "better": "lower", "metric": "m", "seed": 7, **values}
    )


def outcome(number: int, setting: dict[str, object]) -> Trial:
    value = (float(setting["x"]) - 0.3) ** 2 + (setting["kind"] != "good")
    return Trial(number=number, setting=setting, state="finished", values=(value,))


def search(folder: Path, trials: int, killed_after: int | None = None, settings: SweepConfig | None = None):
    folder.mkdir()
    settings = settings or config()
    tried, study = [], Study(folder, settings)
    for number in range(trials):
        assert study.ask() == number
        if number == killed_after:  # between the question and its answer
            study = Study(folder, settings)
            assert study.begun()[-1] == (number, False)
        setting = study.setting(number)
        tried.append(setting)
        study.tell(outcome(number, setting))
    return tried, study


def test_a_search_that_was_killed_tries_what_it_would_have_tried(tmp_path: Path) -> None:
    whole, study = search(tmp_path / "whole", 12)
    broken, _ = search(tmp_path / "broken", 12, killed_after=11)
    assert broken == whole
    assert len({setting["x"] for setting in whole}) == 12
    assert [1, 2] in [setting["kind"] for setting in whole]
    assert study.importance()["kind"] > 0


def test_a_grid_is_asked_for_in_order(tmp_path: Path) -> None:
    settings = config(parameters={"x": [0.1, 0.3], "kind": ["good", "bad"]}, sampler="grid")
    tried, study = search(tmp_path / "sweep", 4, killed_after=2, settings=settings)
    assert tried == settings.grid()
    assert study.importance() == {}, "four trials tell nothing"


def test_who_is_worse_than_the_median_falls_behind(tmp_path: Path) -> None:
    settings = config(pruner="median")
    study = Study(tmp_path, settings)
    for number in range(6):
        assert study.ask() == number
        setting = study.setting(number)
        assert not study.falls_behind(number, 10, 1.0)
        study.tell(outcome(number, setting))
    study.ask()
    other = Study(tmp_path, settings)  # as in the process that trains
    assert other.falls_behind(6, 10, 2.0)
    assert other.falls_behind(6, 10, 2.0), "noted twice, after a kill"
    study.tell(Trial(number=6, setting={}, state="pruned"))
    assert study.begun()[-1] == (6, True)
