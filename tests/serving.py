"""A little model that has learned two poems and a conversation by heart, and servers around it."""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

from hanlin.base.records import Message
from hanlin.checkpoint.defaults import GenerationDefaults
from hanlin.checkpoint.folder import save_model
from hanlin.generate.embedding import SentenceEncoder
from hanlin.generate.language_model import LanguageModel
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from hanlin.serve.config import ServeConfig
from hanlin.serve.mode import EXAMPLES
from hanlin.serve.server import build_server, open_listener
from hanlin.serve.versions import Source
from hanlin.tokenizer.bpe import save_trained, train_bpe
from hanlin.tokenizer.chat import ChatTemplate
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.tokenizer import Tokenizer

POEM = "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。😀"
SONG = "Row, row, row your boat, gently down the stream.\n"
GREETING = (("你好", "你好！我是翰林。"), ("Who are you?", "I am Hanlin."))
WINDOW = 8192


def make_model_folder(folder: Path) -> Path:
    """A model folder: Chinese characters are bytes to its tokenizer, so streams cut them in pieces."""
    made = folder / "tokenizer"
    made.mkdir(parents=True)
    save_trained(train_bpe([SONG * 4], TokenizerConfig(vocab_size=270)), made)
    tokenizer = Tokenizer.load(made)
    torch.manual_seed(7)
    model = Decoder(CoreConfig(vocab_size=tokenizer.vocab_size, width=64, layers=2, heads=4, window=WINDOW))
    learn(model, lessons(tokenizer))
    save_model(folder / "little", model.eval(), tokenizer, GenerationDefaults(), {}, {})
    return folder / "little"


def lessons(tokenizer: Tokenizer) -> list[tuple[list[int], list[int]]]:
    """(ids, 1 where to learn): the poems without end, and conversations that end their turns."""
    chat = ChatTemplate(tokenizer)
    texts = [tokenizer.encode_prompt(text * 6)[:240] for text in (POEM, SONG)]
    dialogues = [
        chat.render([Message(role="user", content=question), Message(role="assistant", content=answer)])
        for question, answer in (*GREETING, *EXAMPLES)
    ]
    return [(ids, [1] * len(ids)) for ids in texts] + [(each.ids, each.loss_mask) for each in dialogues]


def learn(
    model: Decoder, rows: list[tuple[list[int], list[int]]], steps: int = 120, enough: float = 0.05
) -> None:
    """Teach `rows` by heart."""
    length = max(len(ids) for ids, _ in rows)
    tokens = torch.tensor([ids + [0] * (length - len(ids)) for ids, _ in rows])
    learned = torch.tensor([mask + [0] * (length - len(mask)) for _, mask in rows])[:, 1:].bool()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(steps):
        loss = cross_entropy(model(tokens[:, :-1])[learned], tokens[:, 1:][learned])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < enough, f"the little model did not learn its lessons: {loss.item()}"


@dataclass
class Running:
    """A server in a thread of this process."""

    url: str
    model: LanguageModel | None


@contextlib.contextmanager
def running(
    model: LanguageModel | None,
    encoder: SentenceEncoder | None = None,
    source: Source | None = None,
    **settings: object,
) -> Iterator[Running]:
    """Serve `model` on a free port with uvicorn, as `serve` does."""
    config = ServeConfig.model_validate(
        {"port": 0, "access_log": False, "stream_interval": 0, "max_new_tokens": WINDOW, **settings}
    )
    listener = open_listener(config)
    server = build_server(model, config, encoder=encoder, source=source)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    try:
        yield Running(f"http://127.0.0.1:{listener.getsockname()[1]}", model)
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
