"""Clients that leave, queues that fill, time that runs out, an engine that fails, a server that stops."""

import asyncio
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from hanlin.base.errors import ConfigError
from hanlin.generate.language_model import LanguageModel
from hanlin.serve.batcher import Batcher
from hanlin.serve.config import ServeConfig
from hanlin.serve.metrics import Metrics
from hanlin.serve.server import open_listener
from serving import SONG, Running, running

LONG = {"model": "little", "prompt": SONG, "max_tokens": 8000, "temperature": 0}


def metric(server: Running, name: str) -> float:
    lines = httpx2.get(f"{server.url}/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name) and "# " not in line)


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it never came to be")


def events_of(lines) -> list[str]:
    return [line.removeprefix("data: ") for line in lines if line]


def test_frames_of_a_stream(server: Running):
    body = {**LONG, "max_tokens": 5, "stream": True}
    with httpx2.stream("POST", f"{server.url}/v1/completions", json=body) as response:
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        raw = response.read().decode()
    frames = raw.split("\n\n")
    assert frames[-1] == ""
    assert frames[-2] == "data: [DONE]"
    for frame in frames[:-2]:
        assert frame.startswith("data: ")
        assert "\n" not in frame
        assert json.loads(frame[6:])["object"] == "text_completion"


def test_client_gone_in_mid_stream_ends_its_generation(model: LanguageModel):
    with running(model) as server:
        with httpx2.stream("POST", f"{server.url}/v1/completions", json={**LONG, "stream": True}) as response:
            lines = response.iter_lines()
            next(lines)
            assert metric(server, "hanlin_running") == 1
        wait_until(lambda: metric(server, 'hanlin_generations_total{reason="cancelled"}') == 1)
        assert metric(server, "hanlin_running") == 0
        made = metric(server, "hanlin_new_tokens_total")
        time.sleep(0.1)
        assert metric(server, "hanlin_new_tokens_total") == made < 8000
        assert httpx2.get(f"{server.url}/health").json()["running"] == 0


def test_client_gone_before_a_whole_answer_ends_its_generation(model: LanguageModel):
    with running(model) as server:
        with pytest.raises(httpx2.ReadTimeout):
            httpx2.post(f"{server.url}/v1/completions", json={**LONG, "n": 4}, timeout=0.3)
        wait_until(lambda: metric(server, 'hanlin_generations_total{reason="cancelled"}') == 4)
        wait_until(lambda: metric(server, 'hanlin_requests_total{route="/v1/completions",status="499"}') == 1)


def test_full_queue_is_answered_429_and_empties(model: LanguageModel):
    with running(model, max_rows=1, max_queue=1) as server:
        with httpx2.stream("POST", f"{server.url}/v1/completions", json={**LONG, "stream": True}) as first:
            lines = first.iter_lines()
            next(lines)
            with httpx2.stream("POST", f"{server.url}/v1/completions", json={**LONG, "stream": True}):
                refused = httpx2.post(f"{server.url}/v1/completions", json=LONG)
                assert refused.status_code == 429
                assert int(refused.headers["retry-after"]) >= 1
                assert refused.json()["error"]["code"] == "rate_limit_exceeded"
                assert metric(server, "hanlin_running") == 1
                assert metric(server, "hanlin_waiting") == 1
        wait_until(lambda: httpx2.get(f"{server.url}/health").json()["running"] == 0)
        again = httpx2.post(f"{server.url}/v1/completions", json={**LONG, "max_tokens": 3})
        assert again.status_code == 200


def test_more_choices_than_the_server_can_ever_hold_are_refused_for_good(model: LanguageModel):
    with running(model, max_rows=1, max_queue=0) as server:
        response = httpx2.post(f"{server.url}/v1/completions", json={**LONG, "n": 2})
        assert response.status_code == 400
        assert response.json()["error"]["param"] == "n"


def test_time_that_runs_out(model: LanguageModel):
    with running(model, request_timeout=0.3) as server:
        whole = httpx2.post(f"{server.url}/v1/completions", json=LONG)
        assert whole.status_code == 504
        assert whole.json()["error"]["code"] == "timeout"
        with httpx2.stream("POST", f"{server.url}/v1/completions", json={**LONG, "stream": True}) as response:
            events = events_of(response.iter_lines())
        assert response.status_code == 200
        assert json.loads(events[0])["choices"][0]["text"]
        assert json.loads(events[-2])["error"]["code"] == "timeout"
        assert events[-1] == "[DONE]"
        assert metric(server, 'hanlin_generations_total{reason="timeout"}') == 2
        wait_until(lambda: httpx2.get(f"{server.url}/health").json()["running"] == 0)


def test_a_failing_engine_fails_its_requests_and_the_server_goes_on(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    with running(model) as server:
        with httpx2.stream("POST", f"{server.url}/v1/completions", json={**LONG, "stream": True}) as response:
            lines = response.iter_lines()
            next(lines)
            with monkeypatch.context() as patch:
                broken = threading.Event()

                def fail(*_: object, **__: object) -> None:
                    broken.set()
                    raise RuntimeError("out of memory")

                patch.setattr("hanlin.generate.engine.choose", fail)
                whole = httpx2.post(f"{server.url}/v1/completions", json=LONG)
                assert broken.is_set()
            assert whole.status_code == 500
            error = whole.json()["error"]
            assert error["type"] == "server_error"
            assert whole.headers["x-request-id"] in error["message"]
            assert "memory" not in whole.text
            events = events_of(lines)
            assert json.loads(events[-2])["error"]["type"] == "server_error"
        assert "out of memory" in caplog.text
        assert whole.headers["x-request-id"] in caplog.text
        assert SONG.strip() not in caplog.text
        assert httpx2.post(f"{server.url}/v1/completions", json={**LONG, "max_tokens": 3}).status_code == 200


def test_metrics_count_what_happened(model: LanguageModel):
    with running(model) as server:
        body = {**LONG, "max_tokens": 7}
        prompt_tokens = httpx2.post(f"{server.url}/v1/completions", json=body).json()["usage"][
            "prompt_tokens"
        ]
        httpx2.get(f"{server.url}/random/path")
        assert metric(server, "hanlin_prompt_tokens_total") == prompt_tokens
        assert metric(server, "hanlin_new_tokens_total") == 7
        assert metric(server, 'hanlin_requests_total{route="/v1/completions",status="200"}') == 1
        assert metric(server, 'hanlin_requests_total{route="other",status="404"}') == 1
        assert metric(server, "hanlin_time_to_first_token_seconds_count") == 1
        assert metric(server, "hanlin_inter_token_seconds_count") == 6
        assert metric(server, 'hanlin_generations_total{reason="length"}') == 1
        assert "random" not in httpx2.get(f"{server.url}/metrics").text


def test_prompts_stay_out_of_the_log(model: LanguageModel, caplog: pytest.LogCaptureFixture):
    with caplog.at_level("DEBUG"), running(model, access_log=True) as server:
        httpx2.post(f"{server.url}/v1/completions", json={**LONG, "prompt": "my secret", "max_tokens": 2})
        httpx2.post(f"{server.url}/v1/completions", json={**LONG, "prompt": ["my secret", 1]})
        httpx2.get(f"{server.url}/a%0Ab?q=secret")
        wait_until(lambda: "404" in caplog.text)
    messages = [
        record.getMessage() for record in caplog.records if record.name.startswith(("hanlin", "uvicorn"))
    ]
    assert any(message.startswith("POST /v1/completions 200") for message in messages)
    assert any(message.startswith("GET /a\\nb 404") for message in messages)
    assert not [message for message in messages if "secret" in message]


def test_a_stopped_batcher_answers_503(model: LanguageModel):
    async def scenario() -> tuple[int, int]:
        batcher = Batcher(model.engine, 2, 60.0, Metrics())
        batcher.start()
        order = [(model.tokenizer.encode(SONG), model.defaults.model_copy(update={"max_new_tokens": 8000}))]
        submission = batcher.submit(order, "req_1")
        await anext(submission.events())
        await batcher.stop()
        statuses = []
        for attempt in (lambda: anext(submission.events()), lambda: batcher.submit(order, "req_2")):
            try:
                while True:
                    await attempt()
            except Exception as error:
                statuses.append(error.status)
        return statuses[0], statuses[1]

    assert asyncio.run(scenario()) == (503, 503)


def test_taken_port_is_told_before_anything_is_loaded():
    with open_listener(ServeConfig(port=0)) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError) as caught:
            open_listener(ServeConfig(port=port))
    assert str(port) in caught.value.problem.en
    assert str(port) in caught.value.problem.zh
    assert "(port=8001" in caught.value.remedy.en  # as `hanlin serve` takes it
    with pytest.raises(ConfigError):
        open_listener(ServeConfig(host="192.0.2.1"))


SCRIPT = """
import sys
from pathlib import Path
from hanlin.generate.language_model import load
from hanlin.serve.config import ServeConfig
from hanlin.serve.server import open_listener, serve
config = ServeConfig(port=0)
listener = open_listener(config)
print(listener.getsockname()[1], flush=True)
serve(load(Path(sys.argv[1]), device="cpu"), config, listener)
"""


def test_interrupt_lets_streams_end(model_folder: Path):
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(model_folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    port = int(process.stdout.readline())
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: _answers(url))
        with httpx2.stream(
            "POST", f"{url}/v1/completions", json={**LONG, "max_tokens": 300, "stream": True}
        ) as got:
            lines = got.iter_lines()
            next(lines)
            process.send_signal(signal.SIGINT)
            events = events_of(lines)
        assert events[-1] == "[DONE]"
        assert json.loads(events[-2])["choices"][0]["finish_reason"] == "length"
        _, log = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0
    assert url in log
    assert "Traceback" not in log


def _answers(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/health").status_code == 200
    except httpx2.ConnectError:
        return False
