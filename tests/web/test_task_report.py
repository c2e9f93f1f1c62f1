"""The page of an examination in Chromium: nothing is loaded, nothing fails, nothing sticks out on a phone. Run: pytest tests/web."""

import shutil

import pytest

from hanlin.base.language import Text
from hanlin.evaluate.calibration import Bin
from hanlin.evaluate.figures import Difference, Figure
from hanlin.evaluate.task_page import write_task_page
from hanlin.evaluate.task_results import Confusion, Robustness, SliceFigure, TaskExamination, Wrong

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.web,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine"),
]
ACCURACY = Figure(name="accuracy", value=0.8, low=0.7, high=0.9, n=100)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    worse = Difference(name="accuracy", value=-0.2, low=-0.3, high=-0.1, p=0.001, n=100)
    labels = tuple(f"a rather long name of a class {k}" for k in range(12))
    found = TaskExamination(
        kind="classify",
        method="full",
        task={"labels": labels},
        model="a-model-with-a-long-name",
        n=100,
        figures=(ACCURACY,),
        confusion=Confusion(labels=labels, counts=tuple(tuple(range(12)) for _ in labels)),
        reliability=tuple(Bin(low=x, high=x + 0.1, n=9, confidence=x, accuracy=x) for x in (0.5, 0.7, 0.9)),
        slices=(SliceFigure(by="length", name="1-9", figure=ACCURACY),),
        robustness=(Robustness(name="typos", title=Text("typing errors", "错字"), clean=ACCURACY, perturbed=ACCURACY, difference=worse, flipped=0.1),),
        worst=(Wrong(place="f:1", inputs=("长" * 300, "x" * 300, "<img src=x onerror=alert(1)>"), answer="a", said="b", wrongness=1.0),),
        wrong=1,
        seconds=1.0,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_task_page(path, found, "zh")
    return path


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1100, "dark")])
def test_the_page_fits_and_runs_nothing(report, width, scheme):
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme).new_page()
        told, asked = [], []
        page.on("console", lambda line: told.append(line.text))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(report.as_uri())
        assert told == []
        assert asked == [report.as_uri()]
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("svg.interval").count() == 2
        assert page.locator(".heat td.right").count() == 12
        browser.close()
