"""The examination of a task on disk, on its page and in the model card."""

import re

import pytest

from hanlin.base.errors import CheckpointError
from hanlin.base.language import Text
from hanlin.base.manifest import Manifest, write_manifest
from hanlin.evaluate.calibration import Bin
from hanlin.evaluate.card import model_card, weak_parts, write_card
from hanlin.evaluate.compare_page import Comparison, Disagreement, Rival, verdict, write_compare_page
from hanlin.evaluate.figure_names import figure_name, span, written
from hanlin.evaluate.figures import Difference, Figure
from hanlin.evaluate.heat import MOST_CLASSES
from hanlin.evaluate.task_page import interval_bar, write_task_page
from hanlin.evaluate.task_results import (
    Baseline,
    Confusion,
    Elsewhere,
    Forgetting,
    PredictionLine,
    Robustness,
    SliceFigure,
    TaskExamination,
    Wrong,
    read_task_results,
    write_task_results,
)

NASTY = '<script>alert("1")</script> 好\u2028坏'


def figure(value, low=None, high=None, n=100, name="accuracy", better="higher"):
    return Figure(name=name, value=value, low=low, high=high, n=n, better=better)


def apart(value, low, high, p, name="accuracy", better="higher"):
    return Difference(name=name, value=value, low=low, high=high, p=p, n=100, better=better)


def examination(**changed):
    values = {
        "kind": "classify",
        "method": "full",
        "task": {"kind": "classify", "labels": ["bad", "good"]},
        "model": "tiny-bert",
        "fingerprint": "f" * 16,
        "files": {"test.tsv": "abcd"},
        "n": 100,
        "skipped": 3,
        "unanswered": 2,
        "cut": 7,
        "notes": (Text("12 test records are in train as well.", "12 条测试记录也在训练集中。"),),
        "scripts": {"spaced": 60, "han": 40},
        "lengths": (3, 20, 900),
        "figures": (figure(0.8, 0.72, 0.88), figure(0.5, 0.4, 0.6, name="mcc")),
        "confusion": Confusion(labels=("bad", "good"), counts=((41, 9), (11, 39))),
        "reliability": (Bin(low=0.5, high=0.6, n=40, confidence=0.55, accuracy=0.5), Bin(low=0.9, high=1, n=60, confidence=0.95, accuracy=1)),
        "slices": (
            SliceFigure(by="answer", name="bad", figure=figure(0.9, 0.85, 0.95, n=50)),
            SliceFigure(by="answer", name="good", figure=figure(0.6, 0.5, 0.7, n=50)),
            SliceFigure(by="length", name="3-9", figure=figure(0.2, 0.1, 0.3, n=10)),
        ),
        "worst": (Wrong(place="test.tsv:7", inputs=(NASTY,), answer="good", said="bad", wrongness=0.99),),
        "wrong": 20,
        "baselines": (Baseline(name="the most frequent", figures=(figure(0.5, 0.4, 0.6),), seconds=0.1),),
        "robustness": (
            Robustness(name="typos", title=Text("typing errors", "错字"), clean=figure(0.8), perturbed=figure(0.6), difference=apart(-0.2, -0.3, -0.1, 0.001), flipped=0.25),
            Robustness(name="width", title=Text("width", "全角"), clean=figure(0.8), perturbed=figure(0.79), difference=apart(-0.01, -0.1, 0.1, 0.9), flipped=0.01),
        ),
        "elsewhere": (Elsewhere(files={"other.tsv": "ef"}, n=50, figures=(figure(0.7, n=50),), difference=-0.1, low=-0.2, high=0.0),),
        "forgetting": (Forgetting(name=Text("English sample", "英文样本"), documents=8, bytes=900, before=1.1, after=1.4, low=0.2, high=0.4),),
        "seconds": 2.0,
        **changed,
    }  # fmt: skip
    return TaskExamination.model_validate(values)


def plain(html):
    return re.sub(r"\s+", " ", re.sub("<style>.*?</style>|<[^>]+>", " ", html, flags=re.DOTALL))


def test_results_come_back_whole_with_strange_line_breaks(tmp_path):
    lines = [
        PredictionLine(place=f"a:{n}", record={"text": NASTY}, prediction={"labels": ["x"]}, wrongness=0.5)
        for n in range(3)
    ]
    write_task_results(tmp_path, examination(), lines)
    assert read_task_results(tmp_path) == (examination(), lines)


def test_a_damaged_or_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"results\.json"):
        read_task_results(tmp_path)
    write_task_results(tmp_path, examination(), [])
    (tmp_path / "predictions.jsonl").write_text("{", "utf-8")
    with pytest.raises(CheckpointError, match=r"predictions\.jsonl"):
        read_task_results(tmp_path)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_page_tells_everything_and_runs_nothing(tmp_path, lang):
    rows = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0, "valid_loss": 1.5, "valid_accuracy": 0.4}]
    rows += [{"step": 3, "valid_accuracy": 0.5, "valid_f1": 0.5}]  # a single point is no curve
    write_task_page(tmp_path / "page.html", examination(), lang, title="my run", curves=rows)
    html = (tmp_path / "page.html").read_text("utf-8")
    assert "<script" not in html
    assert not re.search(r'(src|href)="(?!#)|url\(|https?:', html)
    said = plain(html)
    for part in (
        "my run",
        "0.720–0.880",
        "test.tsv:7",
        "abcd",
        "other.tsv",
        "-0.200",
        "25.0 %",
        "1.400",
        "&lt;script&gt;",
    ):
        assert part in said, part
    assert (
        "12 test records are in train as well." if lang == "en" else "12 条测试记录也在训练集中。"
    ) in said
    assert ("7 were too long" if lang == "en" else "7 条过长") in said
    assert html.count('<svg class="chart"') == 3  # reliability, losses, accuracy


def test_a_bare_examination_makes_a_page(tmp_path):
    bare = TaskExamination(
        kind="x", method="full", task={}, model="m", n=1, figures=(figure(1.0, n=1),), seconds=0
    )
    write_task_page(tmp_path / "page.html", bare)
    assert "Worst errors" not in (tmp_path / "page.html").read_text("utf-8")


def test_of_many_classes_those_confused_most_are_drawn(tmp_path):
    count = MOST_CLASSES + 4
    counts = [[0] * count for _ in range(count)]
    for k in range(count):
        counts[k][k] = 5
    counts[-1][-2] = 3
    labels = tuple(f"class-{k}" for k in range(count))
    write_task_page(
        tmp_path / "page.html",
        examination(confusion=Confusion(labels=labels, counts=tuple(map(tuple, counts)))),
    )
    html = (tmp_path / "page.html").read_text("utf-8")
    assert html.count('class="right"') == MOST_CLASSES
    assert f"class-{count - 1}<" in html
    assert f"class-{count - 5}<" not in html
    assert f"Of {count} classes" in html


def test_bars_have_a_scale_that_fits_or_are_not_drawn():
    width = re.compile(r'class="reach" x="([\d.]+)" y="2" width="([\d.]+)"')
    assert width.search(interval_bar(figure(0.5))).groups() == ("1.0", "74.0")
    assert width.search(interval_bar(figure(-0.5, -0.6, -0.4, name="mcc"))).groups() == ("38.0", "37.0")
    assert width.search(interval_bar(figure(50.0, 40.0, 60.0, name="bleu"))).groups() == ("1.0", "74.0")
    assert not interval_bar(figure(3.0, name="mse"))
    assert not interval_bar(figure(0.4, name="log_loss", better="lower"))


def test_figures_are_written_as_people_do():
    assert [written(value) for value in (0.91254, 28.314, 12345.6, None)] == ["0.913", "28.31", "12,346", "–"]
    assert written(-0.1, signed=True) == "-0.100"
    assert written(-0.0001, signed=True) == "+0.000"
    assert span(None, None) == "–"
    assert span(-0.1, 0.2, signed=True) == "-0.100 … +0.200"
    assert (figure_name("mcc", "zh"), figure_name("some_thing", "en")) == ("马修斯相关系数", "some thing")
    assert figure_name("f1_creative_work", "zh") == "F1 · creative_work"


def test_the_card_says_what_was_found_and_nothing_else():
    manifest = Manifest(kind="model", config={}, inputs={"model": "1234"}, report={"steps": 30})
    card = model_card("reviews", examination(), manifest, "smollm2")
    for part in (
        "| accuracy | 0.800 | 0.720–0.880 | 100 |",
        "| the most frequent | 0.500 |",
        "- Weak where the answer is good: accuracy 0.600 (0.500–0.700, n = 50); of all records 0.800.",
        "typing errors (accuracy 0.800 → 0.600)",
        "60 in words with spaces",
        "3 to 900 characters, median 20",
        "- 12 test records are in train as well.",
        "- 12 条测试记录也在训练集中。",
        "- model: `1234`",
        "| test.tsv | `abcd` |",
        'hanlin.load_task("reviews").classify("...")',
        "It stands on its base, which has to be at hand: smollm2",
        "`bad`, `good`",
        '"steps": 30',
    ):
        assert part in card, part
    assert "width" not in card  # a difference that may be chance is no weakness
    assert "3-9" not in card  # nor is what ten records show


def test_weak_is_what_is_worse_interval_and_all_whichever_way_is_better():
    assert [part.name for part in weak_parts(examination())] == ["good"]
    errors = (figure(1.0, 0.9, 1.1, name="mse", better="lower"),)
    slices = tuple(
        SliceFigure(
            by="length",
            name=name,
            figure=figure(value, value - 0.1, value + 0.1, n=50, name="mse", better="lower"),
        )
        for name, value in (("short", 0.5), ("long", 2.0), ("middle", 1.05))
    )
    assert [part.name for part in weak_parts(examination(figures=errors, slices=slices))] == ["long"]


def test_the_card_is_written_beside_the_model(tmp_path):
    folder = tmp_path / "reviews" / "model"
    folder.mkdir(parents=True)
    (folder / "task.json").write_text('{"base": null}', "utf-8")
    with pytest.raises(CheckpointError, match=r"hanlin\.json"):
        write_card(folder, examination())
    write_manifest(folder, "model", {}, {"model": "1234"})
    write_card(folder, examination())
    assert "# reviews\n" in (folder / "README.md").read_text("utf-8")


def test_two_models_are_told_apart_or_not(tmp_path):
    seen = Disagreement(place="t:1", inputs=(NASTY,), answer="good", first="bad", second="good", gap=0.9)
    rival = Rival(name="second", figures=(figure(0.9, 0.85, 0.95),), differences=(apart(0.1, 0.05, 0.15, 0.001),), fixed=12, broken=2, differing=14, better=(seen,))  # fmt: skip
    x = Comparison(
        kind="classify", n=100, rivals=(Rival(name="first", figures=(figure(0.8, 0.7, 0.9),)), rival)
    )
    assert (
        verdict(x, rival).en
        == "second is better than first by accuracy: +0.100 (+0.050 … +0.150, p = 0.001)."
    )
    errors = rival.model_copy(update={"differences": (apart(0.1, 0.05, 0.15, 0.001, "mse", "lower"),)})
    assert "second is worse" in verdict(x, errors).en
    chance = rival.model_copy(update={"differences": (apart(0.1, -0.05, 0.15, 0.2),)})
    assert "cannot be told" in verdict(x, chance).en
    for lang in ("en", "zh"):
        write_compare_page(tmp_path / "page.html", x, lang)
        html = (tmp_path / "page.html").read_text("utf-8")
        assert "<script" not in html
        assert "+0.050 … +0.150" in html
        assert "t:1" in html
