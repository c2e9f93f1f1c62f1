"""The chat page in Chromium, against a real server. Run: pytest tests/web (HANLIN_SHOTS=folder keeps screenshots)."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hanlin.generate.language_model import LanguageModel, load
from serving import POEM, Running, make_model_folder, running

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.web,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine"),
]

QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
QUIET += ["--disable-sync", "--no-first-run"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return load(make_model_folder(tmp_path_factory.mktemp("web")), device="cpu")


@pytest.fixture(scope="module")
def server(model: LanguageModel) -> Iterator[Running]:
    with running(model) as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


class Visit:
    """One page open in a browser of its own settings, watching for errors and foreign requests."""

    def __init__(self, browser: Any, url: str, **context: Any) -> None:
        settings = {"viewport": {"width": 1100, "height": 780}, "locale": "en-GB", **context}
        self.context = browser.new_context(**settings)
        self.page = self.context.new_page()
        self.url = url
        self.mistakes: list[str] = []
        self.requests: list[Any] = []
        self.page.on("pageerror", lambda error: self.mistakes.append(str(error)))
        self.page.on("console", lambda line: line.type == "error" and self.mistakes.append(line.text))
        self.page.on("request", lambda request: self.requests.append(request))
        self.page.goto(url)
        self.page.wait_for_selector("#model:not(:empty)")

    def wait_for_text(self, selector: str, right: Callable[[str], bool]) -> str:
        """Wait until the text of an element is `right` (wait_for_function would need eval, which the page forbids)."""
        self.page.wait_for_selector(selector)
        for _ in range(600):
            if right(text := self.page.text_content(selector)):
                return text
            self.page.wait_for_timeout(50)
        raise AssertionError(f"{selector} never came right: {text!r}")

    def ask(self, text: str) -> None:
        self.page.fill("#input", text)
        self.page.press("#input", "Enter")

    def wait_for_end(self) -> None:
        self.page.wait_for_selector("#send:not([hidden])")

    def set(self, **fields: str) -> None:
        self.page.click("#open-settings")
        for name, value in fields.items():
            self.page.fill(f"#{name.replace('_', '-')}", value)
        self.page.click("#settings .primary")

    def shot(self, name: str) -> None:
        if folder := os.environ.get("HANLIN_SHOTS"):
            self.page.screenshot(path=Path(folder) / f"{name}.png")

    def sent(self) -> list[dict[str, Any]]:
        return [request.post_data_json for request in self.requests if request.method == "POST"]


@pytest.fixture
def visit(browser: Any, server: Running) -> Iterator[Any]:
    visits: list[Visit] = []

    def open_page(url: str = server.url, **context: Any) -> Visit:
        visits.append(Visit(browser, url, **context))
        return visits[-1]

    yield open_page
    for each in visits:
        assert all(request.url.startswith(each.url) for request in each.requests)
        each.context.close()


def test_a_conversation_with_its_whole_history(visit):
    here = visit()
    here.shot("welcome-light")
    here.set(temperature="0", system="")
    here.ask("你好")
    here.wait_for_end()
    assert here.page.inner_text(".assistant .text") == "你好！我是翰林。"
    assert "25 tokens" in here.page.inner_text(".assistant .about")
    here.ask("Who are you?")
    here.wait_for_end()
    assert [message["role"] for message in here.sent()[-1]["messages"]] == ["user", "assistant", "user"]
    assert here.sent()[-1]["messages"][1]["content"] == "你好！我是翰林。"
    here.shot("chat-light")
    here.page.click("#new")
    assert here.page.locator(".turn").count() == 0
    here.ask("Who are you?")
    here.wait_for_end()
    assert here.page.inner_text(".assistant .text") == "I am Hanlin."
    assert len(here.sent()[-1]["messages"]) == 1
    assert here.mistakes == []


def test_system_prompt_and_limits_reach_the_server(visit):
    here = visit()
    here.set(system="Be brief.", temperature="0.3", max_tokens="5")
    here.ask("你好")
    here.wait_for_end()
    body = here.sent()[-1]
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (body["temperature"], body["max_tokens"]) == (0.3, 5)
    here.page.reload()
    here.page.click("#open-settings")
    assert here.page.input_value("#system") == "Be brief."
    here.shot("settings-light")


def test_stop_keeps_what_came(visit):
    here = visit()
    here.page.click("#mode-completion")
    here.set(temperature="0", max_tokens="6000")
    here.ask(POEM[:6])
    here.wait_for_text(".sheet .text", lambda text: len(text) > 60)
    here.shot("mid-stream-light")
    assert here.page.is_visible("#stop")
    here.page.click("#stop")
    here.wait_for_end()
    text = here.page.inner_text(".sheet .text")
    assert text.startswith(POEM[:12])
    assert "stopped" in here.page.inner_text(".about")
    assert "tokens/s" in here.page.inner_text(".about")  # a short answer may come all at once
    here.page.get_by_role("button", name="Continue", exact=True).last.click()
    here.wait_for_text(".sheet .text", lambda longer: len(longer) > len(text) + 20)
    here.page.click("#stop")
    here.wait_for_end()
    assert here.sent()[-1]["prompt"] == text
    assert here.mistakes == []


def test_text_is_never_markup(visit):
    here = visit()
    here.ask("<img src=x onerror=alert(1)><b>你好</b>")
    here.wait_for_end()
    assert here.page.inner_text(".user .text") == "<img src=x onerror=alert(1)><b>你好</b>"
    assert here.page.locator("#log img, #log b").count() == 0


def test_keys(visit):
    here = visit()
    here.page.fill("#input", "one")
    here.page.press("#input", "Shift+Enter")
    here.page.keyboard.type("two")
    assert here.page.input_value("#input") == "one\ntwo"
    # While an input method composes, Enter belongs to it.
    here.page.evaluate(
        "document.getElementById('input').dispatchEvent("
        "new KeyboardEvent('keydown', {key: 'Enter', isComposing: true, bubbles: true, cancelable: true}))"
    )
    assert here.sent() == []
    here.page.press("#input", "Enter")
    here.wait_for_end()
    assert here.sent()[0]["messages"][0]["content"] == "one\ntwo"


def test_chinese_and_dark(visit):
    here = visit(locale="zh-CN", color_scheme="dark")
    assert here.page.get_attribute("html", "lang") == "zh-CN"
    here.shot("welcome-zh-dark")
    here.set(temperature="0")
    here.ask("你好")
    here.wait_for_end()
    assert "25 个词元" in here.page.inner_text(".assistant .about")
    here.shot("chat-zh-dark")
    here.page.click("#language")
    assert "Enter sends" in here.page.inner_text(".hint")


def test_phone(visit):
    phone = {"viewport": {"width": 375, "height": 720}, "device_scale_factor": 2, "has_touch": True}
    here = visit(**phone)
    here.shot("phone-welcome")
    here.set(temperature="0")
    here.ask("你好")
    here.wait_for_end()
    here.ask("A rather long line that has to wrap on a small screen, " * 3)
    here.wait_for_end()
    here.shot("phone-chat")
    assert here.page.evaluate("document.documentElement.scrollWidth") <= 375
    here.page.click("#open-settings")
    here.shot("phone-settings")


def test_errors_are_told_in_place_and_tried_again(visit, model: LanguageModel):
    with running(model, request_timeout=0.01, api_key="sesame") as server:
        here = visit(server.url)
        here.page.click("#settings .primary")  # the panel opens by itself when a key is needed
        here.ask("你好")
        here.page.wait_for_selector(".error")
        assert "API key" in here.page.inner_text(".error")
        assert here.page.inner_text(".user .text") == "你好"
        here.shot("error-key")
        here.set(key="sesame")
        here.page.click("text=Try again")
        here.wait_for_text(".error", lambda text: "longer than" in text)
        assert here.page.locator(".user").count() == 1
        here.shot("error-timeout")
    here.page.click("text=Try again")
    here.wait_for_text(".error", lambda text: "reached" in text)


def test_old_turns_that_do_not_fit_are_told(visit):
    here = visit()
    here.set(temperature="0", max_tokens="20")
    for _ in range(4):
        here.page.fill("#input", "long " * 600)
        here.page.press("#input", "Enter")
        here.wait_for_end()
    assert "no longer fit" in here.page.inner_text(".notice >> nth=0")
    here.shot("dropped")
