"""The page's files and the headers around them; how it behaves in a browser is in tests/web."""

import re
from importlib.resources import files

import httpx2
import pytest

from hanlin.generate.language_model import LanguageModel
from hanlin.serve.page import FILES
from serving import Running, running


def test_every_file_of_the_page_is_served_and_listed(server: Running):
    names = {entry.name for entry in (files("hanlin.serve") / "page").iterdir()}
    assert names == set(FILES)
    for name, kind in FILES.items():
        response = httpx2.get(f"{server.url}/page/{name}")
        assert (response.status_code, response.headers["content-type"]) == (200, kind)
    assert httpx2.get(f"{server.url}/").text == httpx2.get(f"{server.url}/page/index.html").text


@pytest.mark.parametrize("name", sorted(FILES))
def test_nothing_comes_from_elsewhere(name: str):
    text = (files("hanlin.serve") / "page" / name).read_text("utf-8")
    addresses = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"')]*", text))
    assert addresses <= {"http://www.w3.org/2000/svg"}  # a namespace, never fetched
    assert "@import" not in text


def test_the_page_needs_nothing_that_its_policy_forbids():
    page = (files("hanlin.serve") / "page" / "index.html").read_text("utf-8")
    assert not re.search(r"<script(?![^>]*\bsrc=)", page)
    assert not re.search(r"<style|\sstyle=|\son\w+=", page)
    script = "".join(
        (files("hanlin.serve") / "page" / name).read_text("utf-8") for name in FILES if name[-3:] == ".js"
    )
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", script
    )


def test_both_languages_have_every_word():
    words = (files("hanlin.serve") / "page" / "words.js").read_text("utf-8")
    english, chinese = words.split("zh: {")
    keys = r"(?:^|[{,])\s*(\w+):"
    names = set(re.findall(keys, english, re.M)) - {"en"}
    assert names == set(re.findall(keys, chinese, re.M))
    assert len(names) > 30


@pytest.mark.parametrize("path", ["/", "/health", "/v1/models", "/nowhere", "/page/app.js"])
def test_security_headers(server: Running, path: str):
    headers = httpx2.get(server.url + path, headers={"origin": "https://evil.example"}).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-request-id"].startswith("req_")
    assert not [name for name in headers if name.startswith("access-control")]
    assert "server" not in headers or "uvicorn" not in headers["server"]


def test_page_config(server: Running, model: LanguageModel):
    config = httpx2.get(f"{server.url}/page/config").json()
    assert config["model"] == "little"
    assert config["window"] == model.window
    assert config["mode"] == "chat"
    assert config["needs_key"] is False
    with running(model, mode="completion", api_key="k") as other:
        config = httpx2.get(f"{other.url}/page/config").json()
        assert (config["mode"], config["needs_key"]) == ("completion", True)


def test_openapi_document_describes_the_routes(server: Running):
    document = httpx2.get(f"{server.url}/openapi.json").json()
    assert {"/v1/models", "/v1/completions", "/v1/chat/completions", "/health", "/metrics"} <= set(
        document["paths"]
    )
    answers = document["paths"]["/v1/completions"]["post"]["responses"]
    assert answers["200"]["content"]["application/json"]["schema"]["$ref"].endswith("/Completion")
    assert answers["4XX"]["content"]["application/json"]["schema"]["$ref"].endswith("/ErrorReply")
