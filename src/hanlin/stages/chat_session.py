"""One conversation with a model: what was said, and how answers are made. It knows nothing of the terminal."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hanlin.base.errors import HanlinError, RequestError
from hanlin.base.files import atomic_file
from hanlin.base.language import Text
from hanlin.base.records import Message
from hanlin.generate.completion import Token, tokens_of
from hanlin.generate.conversation import Overflow, as_messages
from hanlin.generate.driving import Request
from hanlin.generate.generation import Generation, Piece
from hanlin.generate.language_model import LanguageModel
from hanlin.generate.parameters import SamplingParameters
from hanlin.stages.texts import read_lines, read_record

_ALTERNATIVES = 3
"""Of each token of an answer, so many likeliest in its place are known."""


class Session:
    """The turns of one person and one model. Sessions over one model do not know of each other.

    adapter: through which the next answer goes. parameters: those that differ from the model's defaults.
    """

    def __init__(
        self,
        model: LanguageModel,
        system: str | None = None,
        adapter: str | None = None,
        overflow: Overflow = "trim",
        parameters: dict[str, Any] | None = None,
    ) -> None:
        """Raises `RequestError` for wrong parameters, and `CheckpointError` for a model that has no chat template."""
        self.model, self.system, self.adapter, self.overflow = model, system, adapter, overflow
        self.turns: list[Message] = []
        self.last: Generation | None = None
        self._parameters = dict(parameters or {})
        self._drawn = 0
        assert model.chat_template is not None
        assert self.parameters

    @property
    def messages(self) -> list[Message]:
        """The whole conversation, the system's turn first."""
        opening = [] if self.system is None else [Message(role="system", content=self.system)]
        return opening + self.turns

    @property
    def parameters(self) -> SamplingParameters:
        """How the next answer is drawn."""
        return self.model.defaults.changed({"log_probabilities": _ALTERNATIVES} | self._parameters)

    def set(self, name: str, value: Any) -> None:
        """Change a parameter; "" makes it the model's own again. Raises `RequestError` where it is wrong, and then changes
        nothing."""
        changed = self._parameters | {name: value}
        if value == "":
            value = self.model.defaults.model_dump().get(name)
            del changed[name]
        self.model.defaults.changed(changed | {name: value})
        self._parameters = changed

    def switch(self, adapter: str | None) -> None:
        """Answer through an adapter, or the base, from now on. Raises `RequestError` for one that is not there."""
        if adapter is not None:
            there = [] if self.model.adapters is None else list(self.model.adapters.configs)
            if adapter not in there:
                raise _no_adapter(adapter, there)
        self.adapter = adapter

    def ask(self, text: str, drawn: int = 0) -> tuple[Request, Iterator[Piece]]:
        """The answer to what the user says next, as it comes; nothing is kept until `keep`.

        drawn: how many answers to it there were before, so that a given seed does not give them again.
        Raises as `LanguageModel.request`.
        """
        parameters = self.parameters.model_dump()
        if parameters["seed"] is not None:
            parameters["seed"] += drawn
        messages = [*self.messages, Message(role="user", content=text)]
        request = self.model.request(messages, adapter=self.adapter, overflow=self.overflow, **parameters)
        self._drawn = drawn
        return request, self.model.driver.stream(request)

    def keep(self, text: str, answer: str, generation: Generation) -> None:
        """Add an exchange to the conversation."""
        self.turns += [Message(role="user", content=text), Message(role="assistant", content=answer)]
        self.last = generation

    def take_back(self) -> str:
        """Forget the last exchange; what the user had said. Raises `RequestError` where there is none."""
        asked = max((n for n, turn in enumerate(self.turns) if turn.role == "user"), default=None)
        if asked is None:
            raise RequestError(
                Text("Nothing has been said yet.", "还没有说过话。"),
                Text("Ask something first.", "请先提问。"),
            )
        text = self.turns[asked].content
        del self.turns[asked:]
        self.last = None
        return text

    @property
    def drawn(self) -> int:
        """How many answers to the last question were drawn before the one that stands."""
        return self._drawn

    def reset(self) -> None:
        """Forget everything but the system's turn."""
        self.turns, self.last = [], None

    def tokens(self) -> tuple[Token, ...]:
        """The tokens of the last answer with their log-probabilities; none where there is no answer."""
        return () if self.last is None else tokens_of(self.model.tokenizer, self.last.chosen)

    def save(self, path: Path) -> None:
        """Write the conversation as one record of JSONL, such as training reads."""
        record = {"messages": [message.model_dump() for message in self.messages]}
        with atomic_file(path) as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")

    def load(self, path: Path) -> None:
        """Go on with the conversation of a file, in place of this one. Raises `DataError` or `RequestError`."""
        record = read_record(path, 1, read_lines(path)[0])
        messages = as_messages(record.get("messages") or [])
        if not messages:
            raise RequestError(
                Text(f"{path} holds no conversation.", f"{path} 中没有对话。"),
                Text(
                    'It is to hold {"messages": [...]} in its first line.', '其首行应为 {"messages": [...]}。'
                ),
            )
        leading = messages[0].role == "system"
        self.system = messages[0].content if leading else None
        self.turns, self.last = messages[leading:], None


def _no_adapter(name: str, there: list[str]) -> HanlinError:
    listed, listed_zh = ", ".join(there) or "none", "、".join(there) or "无"
    return RequestError(
        Text(f"There is no adapter {name}; there are: {listed}.", f"没有适配器 {name}；现有：{listed_zh}。"),
        Text("Open it with the model: --adapter name=folder.", "请在打开模型时给出：--adapter 名称=目录。"),
    )
