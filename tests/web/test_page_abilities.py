"""What the page does beyond a plain conversation, in Chromium against a real server with a store. Run: pytest tests/web -m web."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from hanlin.generate.language_model import LanguageModel, load
from hanlin.serve import vendor
from serving import Running, make_model_folder, running

sync_api = pytest.importorskip("playwright.sync_api")
_spec = importlib.util.spec_from_file_location("web_visit", Path(__file__).parent / "test_page.py")
assert _spec is not None
assert _spec.loader is not None
_page = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_page)
Visit, CHROMIUM, QUIET = _page.Visit, _page.CHROMIUM, _page.QUIET
pytestmark = [
    pytest.mark.web,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine"),
    pytest.mark.skipif(not vendor.is_current(), reason="python -m hanlin.serve.vendor"),
]
PHONE = {
    "viewport": {"width": 375, "height": 720},
    "device_scale_factor": 2,
    "has_touch": True,
    "is_mobile": True,
}
ATTACK = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
RICH = (
    "# 标题 Heading\n\n**重要：**内容 and *this*, `code`.\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n\n"
    "```python\ndef f(x: int) -> int:\n    return x + 1  # 加一\n```\n\n"
    "Inline $e^{i\\pi} + 1 = 0$ costs $5 and $10.\n\n$$\\int_0^1 x^2\\,dx = \\frac{1}{3}$$\n\n"
    f"{ATTACK}\n\n[bad](javascript:alert(1)) [good](https://example.org) ![p](https://example.org/x.png)\n\n"
    "$\\href{javascript:alert(1)}{x}$ <svg onload=alert(1)>\n"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return load(make_model_folder(tmp_path_factory.mktemp("abilities")), device="cpu")


@pytest.fixture
def server(model: LanguageModel, tmp_path: Path) -> Iterator[Running]:
    with running(model, store=str(tmp_path / "store")) as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Any, server: Running) -> Iterator[Any]:
    visits: list[Any] = []

    def open_page(**context: Any) -> Any:
        visits.append(Visit(browser, server.url, **context))
        return visits[-1]

    yield open_page
    for each in visits:
        assert all(request.url.startswith((each.url, "blob:")) for request in each.requests)
        assert each.page.title() != "owned"
        each.context.close()


def seed(server: Running, title: str, answer: str) -> str:
    id: str = httpx2.post(f"{server.url}/v1/conversations", json={"title": title}).json()["id"]
    turns = [{"role": "user", "content": ATTACK}, {"role": "assistant", "content": answer}]
    assert (
        httpx2.post(f"{server.url}/v1/conversations/{id}/turns", json={"messages": turns}).status_code == 200
    )
    return id


@pytest.mark.parametrize(("name", "context"), [
    ("rich-en", {}), ("rich-zh-dark", {"locale": "zh-CN", "color_scheme": "dark"}), ("rich-phone", PHONE),
])  # fmt: skip
def test_markdown_formulas_and_attacks(visit, server: Running, name: str, context: dict[str, Any]):
    seed(server, ATTACK, RICH)
    here = visit(**context)
    if "viewport" in context:
        here.page.click("#toggle-side")
        here.page.wait_for_timeout(300)
        here.shot("phone-drawer")
    here.page.click("#conversations .name")
    here.page.wait_for_selector(".assistant .formula .katex >> nth=1")
    text = here.page.locator(".assistant .markdown")
    assert text.locator("strong").inner_text() == "重要："
    assert text.locator("table td").count() == 2
    assert text.locator(".hljs-keyword").count() >= 2
    assert text.locator(".katex-display math").count() == 1
    assert "$5 and $10" in text.inner_text()
    assert ATTACK in text.inner_text()
    assert ATTACK in here.page.inner_text("#conversations") or "viewport" in context
    assert (
        here.page.locator("#log img, #log script, #log [onerror], #log [onload], #side img[onerror]").count()
        == 0
    )
    assert here.page.locator("a[href^=javascript]").count() == 0
    assert (
        text.locator("a[href='https://example.org']").get_attribute("rel") == "noopener noreferrer nofollow"
    )
    assert here.page.evaluate("document.documentElement.scrollWidth") <= here.page.viewport_size["width"]
    here.shot(name)
    assert here.mistakes == []


def test_branches_survive_a_reload(visit, server: Running):
    here = visit()
    here.set(temperature="0")
    here.ask("你好")
    here.wait_for_end()
    here.page.press("#input", "ArrowUp")
    here.page.fill(".editing textarea", "Who are you?")
    here.page.keyboard.press("Enter")
    here.wait_for_text(".assistant .text", lambda text: text.strip() == "I am Hanlin.")
    here.wait_for_end()
    assert here.page.inner_text(".user .branches").replace("\n", "") == "2/2"
    here.page.click(".user .branches .act >> nth=0")
    assert here.page.inner_text(".assistant .text") == "你好！我是翰林。"
    here.page.fill("#input", "a draft")
    here.page.reload()
    assert (
        here.wait_for_text(".assistant .text", lambda text: bool(text.strip())).strip() == "你好！我是翰林。"
    )
    assert here.page.input_value("#input") == "a draft"
    (kept,) = httpx2.get(f"{server.url}/v1/conversations").json()["data"]
    assert len(httpx2.get(f"{server.url}/v1/conversations/{kept['id']}").json()["turns"]) == 4
    here.page.click(".assistant .about .act >> nth=1")  # answer again
    here.wait_for_text(".assistant .branches", lambda text: "2/2" in text)
    here.shot("branches")
    assert here.mistakes == []


def test_feedback_with_reason_and_correction(visit, server: Running):
    here = visit()
    here.set(temperature="0")
    here.ask("你好")
    here.wait_for_end()
    here.page.get_by_role("button", name="Bad answer").click()
    here.page.fill(".feedback textarea >> nth=0", "too short")
    here.page.fill(".feedback textarea >> nth=1", "你好！有什么可以帮你？")
    here.shot("feedback")
    here.page.click(".feedback .primary")
    here.wait_for_text(".feedback", lambda text: "That is kept" in text)
    lines = httpx2.get(f"{server.url}/admin/feedback").text.splitlines()
    assert len(lines) == 2
    assert '"correction": "你好！有什么可以帮你？"' in lines[1]
    assert here.mistakes == []


def test_token_probabilities_by_hover_and_by_keys(visit):
    here = visit()
    here.page.click("#open-settings")
    here.page.check("#probabilities")
    here.page.fill("#temperature", "0")
    here.page.click("#settings .primary")
    here.ask("你好")
    here.wait_for_end()
    here.page.get_by_role("button", name="How likely each token was").click()
    assert here.page.inner_text(".chances") == "你好！我是翰林。"
    here.page.hover(".chances span >> nth=0")
    here.page.wait_for_selector("#tip .chosen")
    assert here.page.locator("#tip .chosen code").all_inner_texts() == [
        "<E4>",
        "<BD>",
        "<A0>",
    ]  # the bytes of 你
    here.shot("chances")
    here.page.mouse.move(5, 700)
    here.page.focus(".chances")
    here.page.keyboard.press("ArrowRight")
    assert here.page.is_visible("#tip")
    assert here.mistakes == []


def test_comparison_keeps_the_preference(visit, server: Running):
    here = visit()
    here.set(temperature="0")
    here.page.click("#compare")
    here.page.fill("#other-temperature", "1.9")
    here.page.fill("#other-seed", "3")
    here.shot("comparing")
    here.page.click("#comparing .primary")
    here.ask("Who are you?")
    here.page.wait_for_selector(".better")
    here.shot("comparison")
    here.page.click(".better >> nth=0")
    assert here.page.inner_text(".assistant .text") == "I am Hanlin."
    here.page.wait_for_selector(".toast")
    (line,) = httpx2.get(f"{server.url}/admin/feedback").text.splitlines()
    assert '"preferred": "I am Hanlin."' in line
    assert here.mistakes == []


def test_side_bar_finds_renames_and_deletes(visit, server: Running):
    seed(server, "first", "apples")
    seed(server, "second", "pears")
    here = visit()
    here.page.keyboard.press("Control+k")
    here.page.keyboard.type("apples")
    here.page.wait_for_selector("#conversations li:only-child >> text=first")
    here.page.hover("#conversations li")
    here.page.get_by_role("button", name="Rename").click()
    here.page.keyboard.type("renamed")
    here.page.keyboard.press("Enter")
    here.page.wait_for_selector("text=renamed")
    here.page.hover("#conversations li")
    here.page.get_by_role("button", name="Delete", exact=True).click()
    here.shot("confirm")
    here.page.click("#confirm-yes")
    here.page.wait_for_selector("text=Nothing found.")
    assert [each["title"] for each in httpx2.get(f"{server.url}/v1/conversations").json()["data"]] == [
        "second"
    ]
    assert here.mistakes == []


def test_export_and_the_drawer_closes_by_escape(visit, server: Running):
    seed(server, "to/export", "plain *answer*")
    here = visit(**PHONE)
    here.page.click("#toggle-side")
    assert here.page.evaluate("document.activeElement.id") == "search"
    here.page.keyboard.press("Escape")
    assert here.page.evaluate("document.activeElement.id") == "toggle-side"
    here.page.click("#toggle-side")
    here.page.click("#conversations .name")
    here.page.click("[popovertarget=menu]")
    with here.page.expect_download() as download:
        here.page.click("#export-md")
    assert download.value.suggested_filename == "to_export.md"
    assert "plain *answer*" in Path(download.value.path()).read_text("utf-8")
    assert here.mistakes == []
