"""What `hanlin.load` returns: a model that continues, answers and scores text."""

import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hanlin.base.device import Compute, DeviceName, choose_compute
from hanlin.base.errors import RequestError
from hanlin.base.language import Text
from hanlin.base.records import Message
from hanlin.checkpoint.folder import load_model
from hanlin.generate.conversation import ChatPrompt, as_messages, fit_conversation
from hanlin.generate.engine import Engine
from hanlin.generate.generation import FinishReason, Piece
from hanlin.generate.parameters import SamplingParameters
from hanlin.generate.scoring import token_log_probabilities
from hanlin.model.decoder import Decoder
from hanlin.tokenizer.chat import ChatTemplate
from hanlin.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class Completion:
    """A whole continuation or answer, without the prompt. `seed` repeats it; `dropped_turns` did not fit
    the window."""

    text: str
    finish_reason: FinishReason
    prompt_tokens: int
    new_tokens: int
    seed: int
    dropped_turns: int = 0


class LanguageModel:
    """A model with its tokenizer, its engine and its default parameters."""

    def __init__(
        self, name: str, model: Decoder, tokenizer: Tokenizer, compute: Compute, defaults: SamplingParameters
    ) -> None:
        self.name = name
        self.decoder = model
        self.tokenizer = tokenizer
        self.compute = compute
        self.defaults = defaults
        self.engine = Engine(model, tokenizer, compute)
        self._stepping = threading.Lock()
        self._mailboxes: dict[int, deque[Piece]] = {}

    @property
    def window(self) -> int:
        """The most tokens that prompt and continuation may have together."""
        return self.engine.window

    @cached_property
    def chat_template(self) -> ChatTemplate:
        """The model's own chat template; raises `CheckpointError` when it has none."""
        return ChatTemplate(self.tokenizer)

    def generate(self, prompt: str, **parameters: Any) -> Completion:
        """Continue `prompt`. `parameters` are fields of `SamplingParameters`; the rest are `defaults`.

        Raises `RequestError` for an empty or over-long prompt and for wrong parameters.
        """
        return _completion(self.stream(prompt, **parameters))

    def stream(self, prompt: str, **parameters: Any) -> Iterator[Piece]:
        """As `generate`, piece by piece. Wrong input raises at once; leaving the loop early cancels the
        rest."""
        return self._stream(self.tokenizer.encode_prompt(prompt), self.defaults.changed(parameters))

    def chat(self, messages: Sequence[Message | Mapping[str, Any]], **parameters: Any) -> Completion:
        """Answer a conversation that ends with a turn of the user. Raises as `generate` and `chat_prompt`."""
        changed = self.defaults.changed(parameters)
        prompt = self.chat_prompt(messages, changed.max_new_tokens)
        return _completion(self._stream(prompt.ids, changed), prompt.dropped_turns)

    def stream_chat(
        self, messages: Sequence[Message | Mapping[str, Any]], **parameters: Any
    ) -> Iterator[Piece]:
        """As `chat`, piece by piece. To know of dropped turns, ask `chat_prompt` first."""
        changed = self.defaults.changed(parameters)
        return self._stream(self.chat_prompt(messages, changed.max_new_tokens).ids, changed)

    def chat_prompt(
        self, messages: Sequence[Message | Mapping[str, Any]], max_new_tokens: int | None = None
    ) -> ChatPrompt:
        """The ids that `chat` continues, and how many old turns had to go. Raises as `fit_conversation`."""
        room = self.defaults.max_new_tokens if max_new_tokens is None else max_new_tokens
        return fit_conversation(self.chat_template, as_messages(messages), self.window, room)

    def logprob(self, text: str, continuation: str | None = None) -> float:
        """log P(continuation | text), or log P(text), in nats: the sum over tokens of log P(x_t | x_<t).

        Both parts are encoded on their own, so that logprob(a + b) = logprob(a) + logprob(a, b) wherever a
        token ends between a and b. The first token is conditioned on the begin token; models without one
        cannot tell its probability, and it only serves as condition. Windows as in
        `token_log_probabilities`. Raises `RequestError` when no token is left to score.
        """
        ids = self.tokenizer.encode_prompt(text)
        first = 1
        if continuation is not None:
            first = max(1, len(ids))
            ids = [*ids, *self.tokenizer.encode(continuation)]
        if first >= len(ids):
            raise _nothing_to_score()
        (scores_T,) = token_log_probabilities(self.decoder, [ids], self.compute, first)
        return float(scores_T.sum())

    def _stream(self, ids: Sequence[int], parameters: SamplingParameters) -> Iterator[Piece]:
        self.engine.check_prompt(ids)
        return self._pieces(ids, parameters)

    def _pieces(self, ids: Sequence[int], parameters: SamplingParameters) -> Iterator[Piece]:
        """The pieces of one generation; whoever steps the engine also sorts out those of the others."""
        generation = self.engine.submit(ids, parameters)
        mailbox = self._mailboxes[generation.id] = deque[Piece]()
        ended = False
        try:
            while not ended:
                # Within the lock: another thread's step may have ended this one and not yet sorted it out.
                with self._stepping:
                    if not mailbox and generation.finish_reason is None:
                        self._step()
                    failed = not mailbox and generation.finish_reason is not None
                if failed:  # the engine, in another thread's step
                    yield Piece(generation, "", (), "cancelled")
                    return
                while mailbox:
                    ended = mailbox[0].finish_reason is not None
                    yield mailbox.popleft()
        finally:
            self.engine.cancel(generation)
            del self._mailboxes[generation.id]

    def _step(self) -> None:
        for piece in self.engine.step():
            mailbox = self._mailboxes.get(piece.generation.id)
            if mailbox is not None:
                mailbox.append(piece)


def _completion(pieces: Iterator[Piece], dropped_turns: int = 0) -> Completion:
    last = deque(pieces, maxlen=1).pop()
    generation = last.generation
    assert last.finish_reason is not None
    return Completion(
        generation.text,
        last.finish_reason,
        generation.prompt_tokens,
        generation.new_tokens,
        generation.seed,
        dropped_turns,
    )


def load(folder: Path | str, device: DeviceName = "auto") -> LanguageModel:
    """Open a model folder, ours or one of the ecosystem. Raises `CheckpointError` for what cannot be
    opened."""
    folder = Path(folder)
    compute = choose_compute(device)
    model, tokenizer, advised = load_model(folder, compute)
    defaults = SamplingParameters().changed(advised.model_dump(exclude_none=True))
    return LanguageModel(folder.resolve().name, model, tokenizer, compute, defaults)


def _nothing_to_score() -> RequestError:
    return RequestError(
        Text("There is no token to score.", "没有可以计算概率的词元。"),
        Text("Give a longer text, or a continuation that is not empty.", "请给出更长的文本，或非空的续文。"),
    )
