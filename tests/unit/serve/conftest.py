from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from hanlin.generate.language_model import LanguageModel, load
from serving import Running, make_model_folder, running


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model_folder(tmp_path_factory.mktemp("serve"))


@pytest.fixture(scope="session")
def model(model_folder: Path) -> LanguageModel:
    return load(model_folder, device="cpu")


@pytest.fixture(scope="session")
def server(model: LanguageModel) -> Iterator[Running]:
    with running(model) as server:
        yield server


@pytest.fixture(scope="session")
def client(server: Running) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0)
