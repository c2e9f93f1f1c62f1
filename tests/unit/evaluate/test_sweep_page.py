"""The page and the table of a sweep tell what its trials found, in English and Chinese."""

from pathlib import Path

from rich.console import Console

from hanlin.evaluate.pretrain_page import write_pretrain_page
from hanlin.evaluate.scaling_page import laws_of
from hanlin.evaluate.sweep_page import sweep_table, write_sweep_page
from hanlin.evaluate.sweep_results import Sweep, Trial, describe


def trial(number: int, value: float | None = None, **more: object) -> Trial:
    state = "failed" if value is None else "finished"
    values = () if value is None else (value - 0.1, value + 0.1)
    known = {
        "setting": {"pretrain.learning_rate": 10.0**-number, "model.norm": "rms"},
        "parameters": 1000 + number,
    }
    return Trial.model_validate({"number": number, "state": state, "values": values, **known, **more})


def make_sweep(better: str = "lower", **more: object) -> Sweep:
    trials = (
        trial(0, 2.5, curve=((5, 3.0), (10, 2.5)), figures={"valid_loss": 2.5, "valid_accuracy": 0.25}),
        trial(1, 2.0, curve=((5, 2.5), (10, 2.0)), figures={"valid_loss": 2.0, "valid_accuracy": 0.75}),
        trial(2, reason="not <finite>"),
    )
    return Sweep.model_validate(
        {"metric": "valid_loss", "better": better, "repeats": 2, "trials": trials, "best": 1, **more}
    )


def test_the_best_comes_first_and_the_failed_last() -> None:
    assert [one.number for one in make_sweep().ranked] == [1, 0, 2]
    assert [one.number for one in make_sweep("higher").ranked] == [0, 1, 2]
    console = Console(width=200, file=None, record=True, quiet=False)
    with console.capture() as captured:
        console.print(sweep_table(make_sweep()))
    lines = captured.get().splitlines()
    assert "2.0000 ± 0.1414" in lines[1]
    assert "0.75" in lines[1], "other figures have columns of their own"
    assert "not <finite>" in lines[3]


def test_the_page_draws_parameters_history_and_curves(tmp_path: Path) -> None:
    for lang, words in (("en", "Validation"), ("zh", "验证")):
        write_sweep_page(tmp_path / "report.html", make_sweep(), "title", "machine", lang)
        page = (tmp_path / "report.html").read_text("utf-8")
        assert page.count("<svg") == 5, "bars, two parameters, history, curves"
        assert f"<h2>{words}</h2>" in page
        assert "not &lt;finite&gt;" in page
        assert "<script" not in page


def test_a_sweep_in_which_nothing_finished_still_has_its_page(tmp_path: Path) -> None:
    sweep = make_sweep(best=None, trials=(trial(0, reason="memory"),))
    write_sweep_page(tmp_path / "report.html", sweep, "title", "machine")
    assert "memory" in (tmp_path / "report.html").read_text("utf-8")


def test_laws_come_with_what_they_say_of_the_held_out_trial(tmp_path: Path) -> None:
    def sized(number: int, size: int, tokens: int, held_out: bool = False) -> Trial:
        loss = 1.5 + 50 / size**0.3 + 90 / tokens**0.4
        return trial(number, loss, parameters=size, tokens=tokens, held_out=held_out, values=(loss,))

    sizes = [(size, tokens) for size in (1000, 3000, 10000, 30000) for tokens in (20000, 50000, 90000)]
    trials = [sized(number, *one) for number, one in enumerate(sizes)] + [
        sized(12, 90000, 90000, held_out=True)
    ]
    both, by_size = laws_of(trials)
    assert both.over_tokens
    assert len(both.runs) == 12
    assert not by_size.over_tokens
    assert len(by_size.runs) == 4
    for law in (both, by_size):
        assert law.prediction is not None
        assert law.held_out is not None
        assert abs(law.prediction.loss - law.held_out.loss) < 1e-2
    sweep = make_sweep(trials=tuple(trials), laws=(both, by_size), repeats=1)
    assert [one.number for one in sweep.finished if one.held_out] == []
    write_sweep_page(tmp_path / "report.html", sweep, "title", "machine")
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "Held out: 90,000 parameters" in page
    assert "inside the interval" in page


def test_two_amounts_of_text_are_too_few_for_a_law_over_tokens_but_not_for_one_over_sizes() -> None:
    trials = [
        trial(0, 1.5 + 50 / size**0.3 + 90 / tokens**0.4, parameters=size, tokens=tokens)
        for size in (1000, 3000, 10000, 30000)
        for tokens in (20000, 90000)
    ]
    (law,) = laws_of(trials)
    assert not law.over_tokens
    assert len(law.runs) == 4


def test_settings_are_said_in_one_line() -> None:
    assert describe({"pretrain.learning_rate": 1e-5, "model": {"width": 8}}) == "learning_rate=1e-05 width=8"


def test_a_training_run_is_drawn_layer_by_layer(tmp_path: Path) -> None:
    rows = [
        {
            "step": step,
            "loss": 3 / step,
            "gradient_norm": 1.0,
            "gradient_norm.blocks.0": 0.5,
            "rate_share": 1.0,
        }
        for step in (1, 2, 3)
    ]
    write_pretrain_page(tmp_path / "report.html", rows, {"steps": 3, "gap": "fine"}, "title", "machine", "zh")
    page = (tmp_path / "report.html").read_text("utf-8")
    assert page.count("<svg") == 4, "loss, rate, gradient, gradient by layer"
    assert "blocks.0" in page
    assert "步数" in page
