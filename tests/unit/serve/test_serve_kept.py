"""Conversations, feedback and a user's own data over HTTP; keys with scopes and limits before them."""

import json

import httpx2
import pytest

from hanlin.serve.keys import add_key
from serving import running


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def keys(folder):
    path = folder / "keys.json"
    scopes = {"ann": ("generate", "feedback"), "bob": ("generate", "feedback"), "admin": ("admin", "metrics")}
    return {name: add_key(path, name, scope) for name, scope in scopes.items()}


@pytest.fixture(scope="module")
def url(model, folder, keys):
    with running(model, store=str(folder / "store"), keys=folder / "keys.json") as server:
        yield server.url


@pytest.fixture
def ann(url, keys):
    with httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {keys['ann']}"}) as client:
        yield client
        client.delete("/v1/me")


@pytest.fixture
def bob(url, keys):
    with httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {keys['bob']}"}) as client:
        yield client


SAID = [{"role": "user", "content": "我的名字是安。"}, {"role": "assistant", "content": "你好，安！"}]


def test_a_conversation_is_kept_found_renamed_and_deleted(ann):
    id = ann.post("/v1/conversations", json={}).json()["id"]
    ids = ann.post(f"/v1/conversations/{id}/turns", json={"messages": SAID, "model": "little"}).json()["ids"]
    kept = ann.get(f"/v1/conversations/{id}").json()
    assert [(turn["id"], turn["content"], turn["model"]) for turn in kept["turns"]] == [
        (ids[0], "我的名字是安。", ""),
        (ids[1], "你好，安！", "little"),
    ]
    assert kept["title"] == "我的名字是安。"
    assert [one["id"] for one in ann.get("/v1/conversations", params={"search": "名字"}).json()["data"]] == [
        id
    ]
    assert ann.get("/v1/conversations", params={"search": "nothing"}).json()["data"] == []
    assert ann.patch(f"/v1/conversations/{id}", json={"title": "Names"}).json()["title"] == "Names"
    assert ann.delete(f"/v1/conversations/{id}").json()["rows"] == {"conversations": 1}
    gone = ann.get(f"/v1/conversations/{id}")
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "not_found")


def test_nobody_sees_the_conversations_of_another(ann, bob):
    id = ann.post("/v1/conversations", json={"title": "secret"}).json()["id"]
    assert bob.get("/v1/conversations").json()["data"] == []
    for answer in (bob.get(f"/v1/conversations/{id}"), bob.delete(f"/v1/conversations/{id}")):
        assert answer.status_code == 404
    assert ann.get(f"/v1/conversations/{id}").status_code == 200


def test_feedback_reaches_those_who_may_read_it(ann, url, keys):
    given = {
        "id": "own",
        "messages": SAID,
        "rating": -1,
        "reason": "too short",
        "correction": "你好，安！很高兴认识你。",
    }
    for _ in range(2):  # a client that tries again
        assert ann.post("/v1/feedback", json=given).json() == {
            "object": "feedback",
            "id": "own",
            "stored": True,
        }
    assert httpx2.get(f"{url}/admin/feedback", headers=ann.headers).status_code == 403
    admin = {"Authorization": f"Bearer {keys['admin']}"}
    lines = [
        json.loads(line) for line in httpx2.get(f"{url}/admin/feedback", headers=admin).text.splitlines()
    ]
    assert [(line["id"], line["user"], line["rating"]) for line in lines] == [("own", "ann", -1)]
    after = {"after": lines[0]["number"]}
    assert httpx2.get(f"{url}/admin/feedback", params=after, headers=admin).text == ""


def test_feedback_that_says_nothing_is_refused(ann):
    answer = ann.post("/v1/feedback", json={"messages": SAID})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "rating")
    answer = ann.post("/v1/feedback", json={"messages": SAID, "rating": 5})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "rating")


def test_a_user_takes_everything_along_and_has_it_deleted(ann):
    id = ann.post("/v1/conversations", json={}).json()["id"]
    ann.post(f"/v1/conversations/{id}/turns", json={"messages": SAID})
    ann.post("/v1/feedback", json={"messages": SAID, "rating": 1})
    lines = [json.loads(line) for line in ann.get("/v1/me/export").text.splitlines()]
    assert [line["kind"] for line in lines] == ["conversation", "feedback"]
    assert len(lines[0]["turns"]) == 2
    assert ann.delete("/v1/me").json()["rows"] == {"conversations": 1, "feedback": 1}
    assert ann.get("/v1/me/export").text == ""


def test_a_key_does_only_what_it_may(url, keys):
    admin = {"Authorization": f"Bearer {keys['admin']}"}
    assert httpx2.get(f"{url}/metrics", headers=admin).status_code == 200
    answer = httpx2.get(f"{url}/v1/models", headers=admin)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "insufficient_scope")
    assert httpx2.get(f"{url}/health").status_code == 200
    assert httpx2.get(f"{url}/v1/models").status_code == 401


def test_a_key_that_has_used_up_its_minute_is_told_when_to_come_back(model, folder):
    path = folder / "limited.json"
    secret = add_key(path, "ann", requests_per_minute=2)
    with running(model, keys=path) as server:
        asks = [
            httpx2.get(f"{server.url}/v1/models", headers={"Authorization": f"Bearer {secret}"})
            for _ in range(3)
        ]
    assert [answer.status_code for answer in asks] == [200, 200, 429]
    assert [answer.headers["x-ratelimit-remaining-requests"] for answer in asks] == ["1", "0", "0"]
    assert 1 <= int(asks[2].headers["retry-after"]) <= 31
    assert asks[2].json()["error"]["code"] == "rate_limit_exceeded"


def test_tokens_are_taken_from_a_key_when_an_answer_has_ended(model, folder):
    path = folder / "tokens.json"
    secret = add_key(path, "ann", tokens_per_minute=30)
    body = {"model": "little", "prompt": "春", "max_tokens": 40, "temperature": 0}
    headers = {"Authorization": f"Bearer {secret}"}
    with running(model, keys=path) as server:
        first = httpx2.post(f"{server.url}/v1/completions", json=body, headers=headers)
        second = httpx2.post(f"{server.url}/v1/completions", json=body, headers=headers)
    assert first.status_code == 200
    assert first.json()["usage"]["total_tokens"] > 30
    assert (second.status_code, second.headers["x-ratelimit-remaining-tokens"]) == (429, "0")
    assert "tokens" in second.json()["error"]["message"]


def test_a_server_without_a_store_says_so(server):
    answer = httpx2.get(f"{server.url}/v1/conversations")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "nothing_is_kept")
    assert "store=" in answer.json()["error"]["message"]
