"""Every wrong request gets its status, code and parameter in the OpenAI shape, and never a 500."""

import json
from typing import Any

import httpx2
import pytest

from hanlin.generate.language_model import LanguageModel
from serving import WINDOW, Running, running

COMPLETION = {"model": "little", "prompt": "Row", "max_tokens": 4}
CHAT = {"model": "little", "messages": [{"role": "user", "content": "你好"}], "max_tokens": 4}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}


def post(server: Running, path: str, body: Any, **headers: str) -> httpx2.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx2.post(
        server.url + path,
        content=content,
        headers={"content-type": "application/json", **headers},
        timeout=60,
    )


def error_of(response: httpx2.Response) -> dict[str, Any]:
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    return body["error"]


@pytest.mark.parametrize(
    ("change", "status", "param", "code"),
    [
        ({"temperature": -0.1}, 400, "temperature", "invalid_value"),
        ({"temperature": "0.5"}, 400, "temperature", "invalid_type"),
        ({"temperature": float("nan")}, 400, "temperature", "invalid_value"),
        ({"temperature": True}, 400, "temperature", "invalid_type"),
        ({"top_p": 0}, 400, "top_p", "invalid_value"),
        ({"top_p": 1.01}, 400, "top_p", "invalid_value"),
        ({"top_k": -1}, 400, "top_k", "invalid_value"),
        ({"min_p": 2}, 400, "min_p", "invalid_value"),
        ({"repetition_penalty": 0}, 400, "repetition_penalty", "invalid_value"),
        ({"max_tokens": "5"}, 400, "max_tokens", "invalid_type"),
        ({"max_tokens": 5.5}, 400, "max_tokens", "invalid_type"),
        ({"max_tokens": 0}, 400, "max_tokens", "invalid_value"),
        ({"max_tokens": 10**30}, 400, "max_tokens", "invalid_value"),
        ({"max_tokens": WINDOW}, 400, None, "context_length_exceeded"),
        ({"n": 0}, 400, "n", "invalid_value"),
        ({"n": 9}, 400, "n", "invalid_value"),
        ({"seed": 1.5}, 400, "seed", "invalid_type"),
        ({"seed": 2**64}, 400, "seed", "invalid_value"),
        ({"stop": [""]}, 400, "stop", "invalid_type"),
        ({"stop": ["x"] * 17}, 400, "stop", "invalid_value"),
        ({"stream": "yes"}, 400, "stream", "invalid_type"),
        ({"stream_options": {"include_usage": True}}, 400, "stream_options", "invalid_value"),
        ({"logit_bias": {"5": 101}}, 400, "logit_bias", "invalid_value"),
        ({"logit_bias": {"five": 1}}, 400, "logit_bias", "invalid_value"),
        ({"frequency_penalty": 2.5}, 400, "frequency_penalty", "invalid_value"),
        ({"colour": "red"}, 400, "colour", "unknown_parameter"),
        ({"model": "other"}, 404, "model", "model_not_found"),
        ({"model": None}, 400, "model", "invalid_type"),
        ({"truncation": "some"}, 400, "truncation", "invalid_value"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/completions", "/v1/chat/completions"])
def test_shared_parameters(
    server: Running, path: str, change: dict, status: int, param: str | None, code: str
):
    chat = path.endswith("chat/completions")
    response = post(server, path, {**(CHAT if chat else COMPLETION), **change})
    assert response.status_code == status, response.text
    error = error_of(response)
    assert error["code"] == code
    assert error["param"] == (param or ("messages" if chat else "prompt"))
    assert error["param"] in error["message"] or status == 404


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"prompt": 5}, "prompt", "invalid_type"),
        ({"prompt": []}, "prompt", "invalid_type"),
        ({"prompt": [True]}, "prompt", "invalid_type"),
        ({"prompt": ["a", 1]}, "prompt", "invalid_type"),
        ({"prompt": [-1]}, "prompt", "invalid_value"),
        ({"prompt": [10**20]}, "prompt", "invalid_value"),
        ({"prompt": "half \ud83d"}, "prompt", "invalid_value"),
        ({"prompt": "long " * WINDOW}, "prompt", "context_length_exceeded"),
        ({"prompt": ["a"] * 9}, "n", "invalid_value"),
        ({"logprobs": 21}, "logprobs", "invalid_value"),
        ({"echo": True}, "echo", "unsupported_parameter"),
        ({"messages": []}, "messages", "unknown_parameter"),
    ],
)
def test_completion_parameters(server: Running, change: dict, param: str, code: str):
    response = post(server, "/v1/completions", {**COMPLETION, **change})
    error = error_of(response)
    assert (response.status_code, error["code"], error["param"].partition("[")[0]) == (400, code, param)


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": CHAT["messages"] * 2049}, "messages", "invalid_value"),
        ({"messages": "hello"}, "messages", "invalid_type"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "missing_required_parameter"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content", "invalid_type"),
        ({"messages": [{"role": "user", "content": [IMAGE]}]}, "messages[0].content", "unsupported_content"),
        ({"messages": [{"role": "user", "content": [{}]}]}, "messages[0].content", "invalid_type"),
        (
            {"messages": [{"role": "user", "content": "long " * WINDOW}]},
            "messages",
            "context_length_exceeded",
        ),
        ({"max_completion_tokens": 3}, "max_tokens", "invalid_value"),
        ({"tools": [{"type": "function"}]}, "tools[0].function", "missing_required_parameter"),
        ({"response_format": {"type": "xml"}}, "response_format", "invalid_value"),
        ({"top_logprobs": 2}, "top_logprobs", "invalid_value"),
    ],
)
def test_chat_parameters(server: Running, change: dict, param: str, code: str):
    response = post(server, "/v1/chat/completions", {**CHAT, **change})
    error = error_of(response)
    assert (response.status_code, error["code"], error["param"]) == (400, code, param)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1, 2]",
        b"null",
        b'"text"',
        b'{"\\ud800": 1}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"n": ' + b"9" * 5000 + b"}",
    ],
)
def test_bodies_that_are_not_json_objects(server: Running, body: bytes):
    response = post(server, "/v1/completions", body)
    assert response.status_code == 400
    assert error_of(response)["type"] == "invalid_request_error"


def test_a_form_is_told_to_be_json(server: Running):
    response = httpx2.post(f"{server.url}/v1/completions", data={"prompt": "x"})
    assert response.status_code == 400
    assert "Content-Type: application/json" in error_of(response)["message"]


def test_neutral_values_of_unsupported_parameters_pass(server: Running):
    neutral = {"logprobs": False, "tools": [], "tool_choice": "auto", "presence_penalty": 0, "user": "me"}
    more = {"response_format": {"type": "text"}, "logit_bias": {}, "stop": None, "seed": None, "n": None}
    assert post(server, "/v1/chat/completions", {**CHAT, **neutral, **more}).status_code == 200


def test_old_turns_are_dropped_only_when_asked(server: Running):
    turn = [{"role": "user", "content": "x" * 1500}, {"role": "assistant", "content": "y" * 1500}]
    long = {**CHAT, "messages": [{"role": "system", "content": "Be brief."}, *turn * 5, *CHAT["messages"]]}
    response = post(server, "/v1/chat/completions", long)
    assert error_of(response)["code"] == "context_length_exceeded"
    assert "truncation" in error_of(response)["message"]
    response = post(server, "/v1/chat/completions", {**long, "truncation": "auto"})
    assert response.status_code == 200
    assert int(response.headers["x-hanlin-dropped"]) > 0
    assert response.json()["usage"]["total_tokens"] <= WINDOW


def test_the_start_of_a_prompt_is_dropped_only_when_asked(server: Running):
    body = {**COMPLETION, "prompt": "z" * WINDOW, "truncation": "auto"}
    response = post(server, "/v1/completions", body)
    assert response.status_code == 200
    assert int(response.headers["x-hanlin-dropped"]) == 1 + 4  # the begin token goes with the beginning
    assert response.json()["usage"]["prompt_tokens"] == WINDOW - 4


def test_unknown_addresses_and_methods(server: Running):
    unknown = httpx2.get(f"{server.url}/v1/edits")
    assert unknown.status_code == 404
    assert error_of(unknown)["code"] == "unknown_url"
    method = httpx2.get(f"{server.url}/v1/completions")
    assert method.status_code == 405
    assert error_of(method)["type"] == "invalid_request_error"
    assert "POST" in method.headers["allow"]


@pytest.mark.parametrize(
    "path", ["/page/../config.py", "/page/%2e%2e/config.py", "/page/app.py", "/docs", "/redoc"]
)
def test_nothing_else_of_the_package_is_served(server: Running, path: str):
    assert httpx2.get(server.url + path).status_code == 404


def test_messages_follow_the_language(server: Running):
    body = {**COMPLETION, "temperature": -1}
    for language, word in (
        ("zh-CN,zh;q=0.9,en;q=0.8", "不能小于"),
        ("en-GB,zh;q=0.5", "at least"),
        ("", "at least"),
    ):
        assert (
            word
            in error_of(post(server, "/v1/completions", body, **{"accept-language": language}))["message"]
        )


def test_large_bodies(model: LanguageModel):
    with running(model, max_body_bytes=2000) as server:
        announced = post(server, "/v1/completions", {**COMPLETION, "prompt": "x" * 2000})
        assert announced.status_code == 413
        assert error_of(announced)["code"] == "request_too_large"

        def chunks():
            for _ in range(100):
                yield b"x" * 100

        unannounced = httpx2.post(f"{server.url}/v1/completions", content=chunks())
        assert unannounced.status_code == 413
        assert post(server, "/v1/completions", COMPLETION).status_code == 200


def test_slow_bodies(model: LanguageModel):
    import socket
    import urllib.parse

    with running(model, body_timeout=0.2) as server:
        address = urllib.parse.urlsplit(server.url)
        with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
            connection.sendall(
                b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{"
            )
            assert connection.recv(4096).startswith(b"HTTP/1.1 408")


def test_key_is_asked_for_where_it_matters(model: LanguageModel):
    with running(model, api_key="sesame") as server:
        for path in ("/v1/models", "/metrics"):
            missing = httpx2.get(server.url + path)
            assert missing.status_code == 401
            assert missing.headers["www-authenticate"] == "Bearer"
            assert error_of(missing)["code"] == "invalid_api_key"
            assert (
                httpx2.get(server.url + path, headers={"authorization": "Bearer sesame"}).status_code == 200
            )
            for wrong in ("Bearer", "Basic sesame", "Bearer sesame2", "Bearer \xe9"):
                response = httpx2.get(server.url + path, headers={"authorization": wrong.encode("latin-1")})
                assert response.status_code == 401
        for path in ("/", "/health", "/page/config", "/page/app.js"):
            assert httpx2.get(server.url + path).status_code == 200
        assert "sesame" not in httpx2.get(f"{server.url}/page/config").text


def test_foreign_host_names_are_refused_on_loopback(server: Running, model: LanguageModel):
    response = httpx2.get(f"{server.url}/v1/models", headers={"host": "evil.example:8000"})
    assert response.status_code == 403
    assert error_of(response)["code"] == "host_not_allowed"
    assert httpx2.get(f"{server.url}/health", headers={"host": "localhost:1"}).status_code == 200
    with running(model, allowed_hosts=("lm.example",)) as named:
        assert httpx2.get(f"{named.url}/health", headers={"host": "LM.example"}).status_code == 200
        assert httpx2.get(f"{named.url}/health").status_code == 403
