"""The page's files and the headers around them; how it behaves in a browser is in tests/web."""

import json
import re
from importlib.resources import files
from pathlib import Path

import httpx2
import pytest

from hanlin.generate.language_model import LanguageModel
from hanlin.serve import vendor
from hanlin.serve.page import FILES, MEDIA
from serving import Running, running


def test_every_file_of_the_page_is_served_and_listed(server: Running):
    names = {
        entry.name for entry in (files("hanlin.serve") / "page").iterdir() if not entry.name.startswith(".")
    }
    assert names - {"package.json", "package-lock.json", "vendor"} == set(FILES)
    for name, kind in FILES.items():
        response = httpx2.get(f"{server.url}/page/{name}")
        assert (response.status_code, response.headers["content-type"]) == (200, kind)
    assert httpx2.get(f"{server.url}/").text == httpx2.get(f"{server.url}/page/index.html").text


def test_libraries_stay_in_caches_and_nothing_beside_them_is_served(server: Running):
    base = httpx2.get(f"{server.url}/page/config").json()["vendor"]
    if base is None:
        pytest.skip("the libraries of the page are not here: python -m hanlin.serve.vendor")
    for name in vendor.FILES:
        answer = httpx2.get(f"{server.url}{base}/{name}")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == MEDIA[Path(name).suffix]
        assert "immutable" in answer.headers["cache-control"]
    styles = httpx2.get(f"{server.url}{base}/katex.css").text
    fonts = re.findall(r"url\((fonts/[\w-]+\.woff2)\)", styles)
    assert len(fonts) >= 20
    for font in fonts:
        answer = httpx2.get(f"{server.url}{base}/{font}")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "font/woff2")


@pytest.mark.parametrize(
    "path",
    [
        "package.json",
        "package-lock.json",
        "vendor",
        "vendor/0/marked.js",
        "..%2fpage.py",
        "%2e%2e/vendor.py",
        "vendor.py",
    ],
)
def test_nothing_else_is_served(server: Running, path: str):
    assert httpx2.get(f"{server.url}/page/{path}").status_code == 404


def test_the_lock_names_every_version_and_digest():
    wanted = json.loads((vendor.PAGE / "package.json").read_text())["dependencies"]
    lock = json.loads((vendor.PAGE / "package-lock.json").read_text())["packages"]
    assert lock[""]["dependencies"] == wanted
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in wanted.values())
    packages = {name: entry for name, entry in lock.items() if name}
    assert {f"node_modules/{name}" for name in wanted} <= set(packages)
    assert all(entry["integrity"].startswith("sha512-") for entry in packages.values())


def test_without_npm_it_is_told_and_nothing_is_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    before = {path.name for path in vendor.PAGE.iterdir()}
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(vendor.VendorError, match="no npm"):
        vendor.fetch()
    (tmp_path / "npm").write_text("#!/bin/sh\necho broken >&2\nexit 7\n")
    (tmp_path / "npm").chmod(0o755)
    with pytest.raises(vendor.VendorError, match="broken"):
        vendor.fetch()
    assert {path.name for path in vendor.PAGE.iterdir()} == before


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
