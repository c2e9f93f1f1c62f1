"""/v1/embeddings through the official client, by a tiny encoder beside the language model."""

import httpx2
import numpy as np
import openai
import pytest
import torch

from hanlin.checkpoint.sentence import SentenceSettings
from hanlin.generate.embedding import SentenceEncoder
from hanlin.model.config import CoreConfig
from hanlin.model.encoder import Encoder
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.saving import save_tokenizer
from hanlin.tokenizer.tokenizer import Tokenizer
from hanlin.tokenizer.wordpiece import train_wordpiece
from serving import running
from tiny import CPU

TEXTS = ["a good film", "这部电影很好看", "Ein Satz."]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoder")
    settings = TokenizerConfig(model="wordpiece", vocab_size=260, on_small="shrink")
    save_tokenizer(train_wordpiece(TEXTS * 8, settings), "wordpiece", folder)
    tokenizer = Tokenizer.load(folder)
    torch.manual_seed(0)
    shape = {
        "style": "bert",
        "assembly": "encoder",
        "head": "none",
        "width": 16,
        "layers": 1,
        "heads": 2,
        "window": 32,
    }
    model = Encoder(CoreConfig(vocab_size=tokenizer.vocab_size, **shape)).eval()
    return SentenceEncoder("tiny", model, tokenizer, CPU, SentenceSettings("mean", True, 32))


@pytest.fixture(scope="module")
def vectors(model, encoder):
    with running(model, encoder, max_inputs=8) as server:
        yield server.url


@pytest.fixture(scope="module")
def client(vectors):
    return openai.OpenAI(base_url=f"{vectors}/v1", api_key="unused", max_retries=0)


@pytest.mark.parametrize("encoding", ["float", "base64", openai.NOT_GIVEN])
def test_vectors_are_the_encoders(client, encoder, encoding):
    answer = client.embeddings.create(model="tiny", input=TEXTS, encoding_format=encoding)
    given = [one.embedding for one in answer.data]
    if encoding == "base64":
        import base64

        given = [np.frombuffer(base64.b64decode(one), "<f4") for one in given]
    assert np.allclose(np.array(given), encoder.embed(TEXTS).vectors_NC, atol=1e-6)
    assert [one.index for one in answer.data] == [0, 1, 2]
    assert answer.usage.prompt_tokens == sum(len(encoder.encode(text).ids) for text in TEXTS)


def test_one_text_is_a_list_of_one(client, encoder):
    answer = client.embeddings.create(model="tiny", input=TEXTS[0], dimensions=16)
    assert np.allclose(answer.data[0].embedding, encoder.embed(TEXTS[:1]).vectors_NC[0], atol=1e-6)


def test_both_models_are_listed(client):
    assert [one.id for one in client.models.list()] == ["little", "tiny"]
    assert client.models.retrieve("tiny").id == "tiny"


@pytest.mark.parametrize(
    ("given", "status", "param"),
    [
        ({"model": "little", "input": "x"}, 404, "model"),
        ({"model": "tiny", "input": "x", "dimensions": 8}, 400, "dimensions"),
        ({"model": "tiny", "input": ["x"] * 9}, 400, "input"),
        ({"model": "tiny", "input": ""}, 400, "input"),
        ({"model": "tiny", "input": []}, 400, "input"),
        ({"model": "tiny", "input": [10**9]}, 400, "input"),
        ({"model": "tiny", "input": "x", "encoding_format": "int8"}, 400, "encoding_format"),
    ],
)
def test_what_is_wrong_is_named(vectors, given, status, param):
    answer = httpx2.post(f"{vectors}/v1/embeddings", json=given)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param), answer.text


def test_a_server_without_an_encoder_says_so(server):
    answer = httpx2.post(f"{server.url}/v1/embeddings", json={"model": "little", "input": "x"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
