"""Adapters by name, new versions under running streams, health, audit, and several processes behind one port."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import psutil
import pytest
import torch

from hanlin.checkpoint.adapters.write import save_adapter
from hanlin.checkpoint.folder import describe_model
from hanlin.generate.language_model import LanguageModel, load
from hanlin.model.adapters.adapters import Adapters
from hanlin.model.adapters.config import LoraConfig
from hanlin.serve.versions import Source
from serving import SONG, running

ASK = {"model": "little", "prompt": SONG, "max_tokens": 12, "temperature": 0}


@pytest.fixture(scope="module")
def folders(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two adapters that say something else than the base."""
    adapters = Adapters(load(model_folder, device="cpu", engine="torch").decoder)
    made = {}
    for seed, name in enumerate(("one", "two")):
        torch.manual_seed(seed)
        adapters.add(name, LoraConfig(rank=4, alpha=64))
        for change in adapters.changes(name).values():
            for weight in change.parameters():
                torch.nn.init.normal_(weight, std=0.3)
        made[name] = tmp_path_factory.mktemp("adapters") / name
        save_adapter(made[name], adapters, name, describe_model(model_folder).family)
    return made


def test_each_adapter_answers_for_itself_in_one_batch(model_folder: Path, folders: dict[str, Path]):
    model = load(model_folder, device="cpu", adapters=folders)
    names = ["little", "little:one", "little:two"]
    with running(model) as server:
        listed = httpx2.get(f"{server.url}/v1/models").json()["data"]
        assert [card["id"] for card in listed] == names

        def ask(name: str) -> str:
            got = httpx2.post(f"{server.url}/v1/completions", json={**ASK, "model": name})
            return got.json()["choices"][0]["text"]

        with ThreadPoolExecutor(3) as pool:
            texts = list(pool.map(ask, names))
        unknown = httpx2.post(f"{server.url}/v1/completions", json={**ASK, "model": "little:three"})
    assert len(set(texts)) == 3
    alone = model.generate(SONG, adapter="two", max_new_tokens=12, temperature=0).text
    assert texts[2] == alone
    assert unknown.status_code == 404
    assert "little:one" in unknown.json()["error"]["message"]


def test_a_new_version_takes_over_while_streams_end_on_the_old(model: LanguageModel, model_folder: Path):
    opened = []

    def again(folder: Path) -> LanguageModel:
        opened.append(folder)
        return load(folder, device="cpu")

    fresh = load(model_folder, device="cpu")
    with running(fresh, source=Source(model_folder, again), log_prompts=False) as server:
        body = {**ASK, "max_tokens": 2000, "stream": True}
        with httpx2.stream("POST", f"{server.url}/v1/completions", json=body) as got:
            lines = got.iter_lines()
            next(lines)
            answered = httpx2.post(f"{server.url}/admin/reload", json={}, timeout=60)
            assert answered.status_code == 200
            assert answered.json()["running"] == 1  # the stream of the old version
            assert httpx2.post(f"{server.url}/v1/completions", json=ASK).status_code == 200
            events = [line for line in lines if line]
        assert events[-1] == "data: [DONE]"
        assert json.loads(events[-2][6:])["choices"][0]["finish_reason"] == "length"
        assert httpx2.get(f"{server.url}/health/ready").json()["running"] == 0
    assert opened == [model_folder]


def test_a_version_that_cannot_be_loaded_leaves_the_old_one(model_folder: Path, tmp_path: Path):
    huge = tmp_path / "huge"
    huge.mkdir()
    (huge / "config.json").write_text("{}")
    with (huge / "model.safetensors").open("wb") as file:
        file.truncate(2**42)  # four tebibytes on paper
    model = load(model_folder, device="cpu")
    with running(model, source=Source(model_folder, lambda folder: load(folder, device="cpu"))) as server:
        for place, why in ((huge, "GiB"), (tmp_path, "old version goes on")):
            refused = httpx2.post(f"{server.url}/admin/reload", json={"model": str(place)})
            assert refused.status_code == 409
            assert why in refused.json()["error"]["message"]
        assert httpx2.post(f"{server.url}/v1/completions", json=ASK).status_code == 200


def test_refused_keys_and_admin_actions_are_noted(model: LanguageModel, caplog: pytest.LogCaptureFixture):
    with caplog.at_level("INFO", "hanlin.audit"), running(model, api_key="secret-key") as server:
        assert httpx2.get(f"{server.url}/health/live").status_code == 200
        assert httpx2.get(f"{server.url}/v1/models").status_code == 401
        headers = {"Authorization": "Bearer secret-key"}
        reply = httpx2.post(f"{server.url}/admin/reload", json={}, headers=headers)
        assert reply.status_code == 409  # it has nowhere to load from
    noted = [record.facts for record in caplog.records if record.name == "hanlin.audit"]
    assert [(fact["event"], fact["status"]) for fact in noted] == [("refused", 401), ("admin", 409)]
    assert "secret-key" not in caplog.text


def test_a_killed_worker_is_started_again_and_others_go_on(model_folder: Path, tmp_path: Path):
    command = [sys.executable, "-c", "from hanlin.cli.main import main; main()"]
    settings = ["port=18437", "workers=2", "log_format=json"]
    log = (tmp_path / "log").open("w")
    process = subprocess.Popen([*command, "serve", str(model_folder), *settings], stderr=log, stdout=log)
    url = "http://127.0.0.1:18437"
    try:
        workers = _workers(process.pid, 2)
        _until(lambda: _answers(url))
        workers[0].kill()
        for _ in range(20):
            _until(lambda: _answers(url))
        again = _workers(process.pid, 2)
        assert workers[0].pid not in [one.pid for one in again]
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert not any(psutil.pid_exists(one.pid) for one in again)
    finally:
        process.kill()
        log.close()
    assert os.path.getsize(tmp_path / "log")


def _workers(pid: int, count: int) -> list[psutil.Process]:
    def there() -> list[psutil.Process]:
        children = psutil.Process(pid).children()
        return [one for one in children if "spawn_main" in " ".join(one.cmdline())]

    _until(lambda: len(there()) == count)
    return there()


def _until(condition) -> None:
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it never came to be")


def _answers(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/health/ready", timeout=5).status_code == 200
    except httpx2.HTTPError:
        return False
