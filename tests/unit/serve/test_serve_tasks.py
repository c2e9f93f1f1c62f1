"""Tasks over HTTP: what is asked and answered, what is refused and how, how much at once."""

import contextlib
import threading
import time

import httpx2
import pytest

from hanlin.serve.config import ServeConfig
from hanlin.serve.server import build_server, open_listener
from hanlin.stages.serve import open_served
from hanlin.tasks.folder import load_task
from task_folders import CLASSES, TEXTS, make_base, make_task

ZH = {"accept-language": "zh-CN,zh;q=0.9"}


@contextlib.contextmanager
def serving(model, tasks, **settings):
    """The address of a server around these."""
    config = ServeConfig.model_validate({"port": 0, "access_log": False, **settings})
    listener = open_listener(config)
    server = build_server(model, config, tasks)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("serve-tasks")
    base = make_base(folder)
    make_task(folder / "films", base, **CLASSES)
    make_task(folder / "names", base, kind="tag", labels=("O", "B-X", "I-X"), method="lora")
    make_task(folder / "reader", base, kind="answer")
    make_task(folder / "search", base, kind="match")
    return {name: load_task(folder / name, "cpu") for name in ("films", "names", "reader", "search")}


@pytest.fixture(scope="module")
def url(tasks):
    with serving(None, tasks, max_inputs=3) as url:
        yield url


def ask(url, name, inputs, **more):
    return httpx2.post(f"{url}/v1/tasks/{name}", json={"inputs": inputs}, **more)


def test_a_task_says_over_http_what_it_says_in_python(url, tasks):
    reply = ask(url, "films", [{"text": TEXTS[2]}, {"text": TEXTS[0], "pair": TEXTS[3]}])
    assert reply.status_code == 200
    said = tasks["films"].classify([TEXTS[2], (TEXTS[0], TEXTS[3])])
    assert reply.json() == {
        "task": "films", "kind": "classify", "predictions": [one.model_dump(mode="json") for one in said],
    }  # fmt: skip
    tagged = ask(url, "names", [{"words": ["good", "film"]}]).json()["predictions"][0]
    assert tagged == tasks["names"].tag(["good", "film"]).model_dump(mode="json")
    answered = ask(url, "reader", [{"question": "film", "context": TEXTS[0]}]).json()["predictions"][0]
    assert answered == tasks["reader"].answer("film", TEXTS[0]).model_dump(mode="json")


def test_inputs_of_a_request_do_not_see_one_another(url, tasks):
    inputs = [{"query": "film", "found": ["a", "b"]}, {"query": "book", "found": ["c"]}, {"query": "好"}]
    together = ask(url, "search", inputs).json()["predictions"]
    alone = [ask(url, "search", [one]).json()["predictions"][0] for one in inputs]
    for one, other in zip(together, alone, strict=True):
        assert one["scores"] == pytest.approx(other["scores"], abs=1e-5)
        assert not set(one["ranked"]) - {"a", "b", "c"}
        assert one["ranked"] == other["ranked"]


@pytest.mark.parametrize(
    ("name", "body", "param", "said", "said_zh"),
    [
        ("films", {"inputs": []}, "inputs", "must not be empty", "不能为空"),
        ("films", {}, "inputs", "is required", "必须给出"),
        ("films", {"inputs": [{"text": "a"}] * 4}, "inputs", "at most 3", "最多 3"),
        ("films", {"inputs": [{"txt": "a"}]}, "inputs[0].text", "is required", "必须给出"),
        (
            "films",
            {"inputs": [{"text": "a", "labels": ["bad"]}]},
            "inputs[0].labels",
            "not a parameter",
            "不是",
        ),
        ("films", {"inputs": [{"text": 5}]}, "inputs[0].text", "must be a string", "必须是字符串"),
        (
            "films",
            {"inputs": [{"text": "a"}, {"text": "  "}]},
            "inputs",
            "Input 2 has an empty text",
            "第 2 个",
        ),
        ("films", {"inputs": [{"text": "a"}], "model": "x"}, "model", "not a parameter", "不是"),
        ("names", {"inputs": [{"words": "a b"}]}, "inputs[0].words", "", ""),
        ("names", {"inputs": [{"words": []}]}, "inputs", "empty", "空白"),
        ("reader", {"inputs": [{"question": "a"}]}, "inputs[0].context", "is required", "必须给出"),
        ("reader", {"inputs": [{"question": "a", "context": None}]}, "inputs[0].context", "string", "字符串"),
    ],
)
def test_wrong_input_is_named_in_both_languages(url, name, body, param, said, said_zh):
    for headers, expected in (({}, said), (ZH, said_zh)):
        reply = httpx2.post(f"{url}/v1/tasks/{name}", json=body, headers=headers)
        error = reply.json()["error"]
        assert reply.status_code == 400, error
        assert error["param"] == param
        assert error["type"] == "invalid_request_error"
        assert expected in error["message"]


def test_a_name_that_is_not_there_and_text_from_no_model_are_404(url):
    missing = ask(url, "nothing", [{"text": "a"}])
    assert missing.status_code == 404
    assert "films, names, reader, search" in missing.json()["error"]["message"]
    for path in ("completions", "chat/completions"):
        reply = httpx2.post(f"{url}/v1/{path}", json={"model": "films"}, headers=ZH)
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, "model_not_found")
        assert "没有语言模型" in reply.json()["error"]["message"]
    assert httpx2.get(f"{url}/v1/models").json()["data"] == []
    assert httpx2.get(f"{url}/v1/models/films").status_code == 404


def test_tasks_are_listed_with_their_schemas_and_are_in_the_openapi_document(url):
    cards = {card["id"]: card for card in httpx2.get(f"{url}/v1/tasks").json()["data"]}
    assert cards.keys() == {"films", "names", "reader", "search"}
    assert cards["films"]["labels"] == ["bad", "good"]
    assert (cards["names"]["kind"], cards["names"]["method"]) == ("tag", "lora")
    given = next(iter(cards["films"]["inputs"]["$defs"].values()))
    assert (list(given["properties"]), given["required"]) == (["text", "pair"], ["text"])
    document = httpx2.get(f"{url}/openapi.json").json()
    bodies = {
        name: document["paths"][f"/v1/tasks/{name}"]["post"]["requestBody"]["content"]["application/json"][
            "schema"
        ]["$ref"]
        for name in cards
    }
    assert len(set(bodies.values())) == len(cards)
    reply = document["components"]["schemas"]["Input_reader"]
    assert reply["required"] == ["question", "context"]


def test_health_and_metrics_know_of_tasks(url):
    before = httpx2.get(f"{url}/metrics").text
    ask(url, "films", [{"text": "a"}, {"text": "b"}])
    health = httpx2.get(f"{url}/health").json()
    assert health["model"] is None
    assert health["tasks"] == ["films", "names", "reader", "search"]

    def count(text):
        found = [
            line for line in text.splitlines() if line.startswith('hanlin_task_inputs_total{task="films"}')
        ]
        return float(found[0].split()[1]) if found else 0.0

    after = httpx2.get(f"{url}/metrics").text
    assert count(after) - count(before) == 2
    assert 'hanlin_requests_total{route="/v1/tasks/films",status="200"}' in after


class Slow:
    """A task that waits until it is let go."""

    def __init__(self, task):
        self.let_go, self.inside, self.most = threading.Event(), 0, 0
        self.task, self.name, self.kind, self.opened = task.task, task.name, task.kind, task.opened
        self._predict = task.predict

    def predict(self, records):
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.let_go.wait(20)
        said = self._predict(records)
        self.inside -= 1
        return said


def test_one_pass_at_a_time_some_wait_and_more_are_refused(tasks):
    slow = Slow(tasks["films"])
    with serving(None, {"slow": slow}, max_queue=1) as url:
        found = []
        threads = [
            threading.Thread(target=lambda: found.append(ask(url, "slow", [{"text": "a"}], timeout=30)))
            for _ in range(3)
        ]
        try:
            for thread in threads[:2]:
                thread.start()
            while httpx2.get(f"{url}/health").json()["running"] < 2:  # the loop is free meanwhile
                time.sleep(0.01)
            refused = ask(url, "slow", [{"text": "a"}])
            assert refused.status_code == 429
            assert int(refused.headers["retry-after"]) >= 1
        finally:
            slow.let_go.set()
        threads[2].start()
        for thread in threads:
            thread.join()
        assert [reply.status_code for reply in found] == [200, 200, 200]
    assert slow.most == 1


def test_a_request_that_takes_too_long_is_told_and_its_place_is_kept_until_the_pass_ends(tasks):
    slow = Slow(tasks["films"])
    with serving(None, {"slow": slow}, max_queue=0, request_timeout=0.2) as url:
        try:
            assert ask(url, "slow", [{"text": "a"}]).status_code == 504
            assert ask(url, "slow", [{"text": "a"}]).status_code == 429
        finally:
            slow.let_go.set()
        while httpx2.get(f"{url}/health").json()["running"]:
            time.sleep(0.01)


def test_a_folder_is_served_as_what_it_is(model_folder, tmp_path):
    model, tasks = open_served(model_folder, "cpu")
    assert (model.name, tasks) == ("little", {})
    base = make_base(tmp_path)
    make_task(tmp_path / "my films!" / "model", base, **CLASSES)
    none, tasks = open_served(tmp_path / "my films!", "cpu")
    assert none is None
    assert list(tasks) == ["my-films"]
    with serving(model, tasks) as url:
        assert ask(url, "my-films", [{"text": "a"}]).status_code == 200
        body = {"model": "little", "prompt": "Row", "max_tokens": 2}
        assert httpx2.post(f"{url}/v1/completions", json=body).status_code == 200
        assert httpx2.get(f"{url}/health").json()["model"] == "little"
