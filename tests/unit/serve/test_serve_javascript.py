"""The official JavaScript client; `npm ci` in tests/clients installs it."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from serving import GREETING, Running

CLIENTS = Path(__file__).parents[2] / "clients"


def test_the_javascript_client(server: Running):
    pytest.importorskip("llguidance")
    node = shutil.which("node")
    if node is None or not (CLIENTS / "node_modules" / "openai").is_dir():
        pytest.skip("needs node, and `npm ci` in tests/clients")
    done = subprocess.run(
        [node, CLIENTS / "client.js", server.url], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["models"] == ["little"]
    assert found["chat"] == found["stream"] == found["response"] == GREETING[0][1]
    assert found["completion"] == "length"
    assert found["tokens"] > 0
    assert found["call"]["name"] == "weather"
    assert json.loads(found["call"]["arguments"])["city"] in ("北京", "Paris")
    assert found["error"] == [400, "temperature", "invalid_value"]
