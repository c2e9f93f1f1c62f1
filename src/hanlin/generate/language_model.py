"""What `hanlin.load` returns: a model that continues, answers and scores text."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, overload

from hanlin.base.device import Compute, DeviceName
from hanlin.base.errors import ConfigError, RequestError
from hanlin.base.language import Text
from hanlin.base.records import Message
from hanlin.checkpoint.folder import load_model
from hanlin.checkpoint.stored import WeightsName
from hanlin.generate.beam_config import BeamConfig
from hanlin.generate.completion import Completion, completion_of
from hanlin.generate.conversation import ChatPrompt, Overflow, as_messages, fit_conversation, fit_text
from hanlin.generate.decoder_beam import BeamText, likeliest_texts
from hanlin.generate.draft import DraftModel
from hanlin.generate.driving import Driver, Request
from hanlin.generate.embedding import SentenceEncoder, Vectors, sentence_settings
from hanlin.generate.engine import Engine
from hanlin.generate.engine_choice import EngineName
from hanlin.generate.engine_protocol import TextEngine
from hanlin.generate.fill import Guess
from hanlin.generate.generation import Piece
from hanlin.generate.open_engine import OpenedEngine, open_engine
from hanlin.generate.parameters import SamplingParameters
from hanlin.generate.proposals import PromptLookup, Proposer
from hanlin.generate.runner import Runner
from hanlin.generate.runner_scoring import runner_scores
from hanlin.generate.torch_runner import TorchRunner
from hanlin.model.adapters.adapters import Adapters
from hanlin.model.decoder import Decoder
from hanlin.tokenizer.chat import ChatTemplate
from hanlin.tokenizer.tokenizer import Tokenizer

Messages = Sequence[Message | Mapping[str, Any]]
"""A conversation: records, or `{"role", "content"}` objects."""


PROMPT = "prompt"
"""Speculation that looks guesses up in the text itself."""


class LanguageModel:
    """A model with its tokenizer, its engine and its default parameters.

    Everything may be called from any thread; texts asked for at once are computed together. Where a method takes
    `**parameters`, these are fields of `SamplingParameters`; what is left open is as in `defaults`.
    """

    def __init__(
        self,
        name: str,
        model: Decoder | Path,
        tokenizer: Tokenizer,
        compute: Compute,
        defaults: SamplingParameters,
        opened: OpenedEngine | None = None,
    ) -> None:
        """model: a decoder, or the folder from which it is opened should anything but the engine need one.

        opened: what runs the model, and why; default: PyTorch runs the decoder.
        """
        self.name = name
        self.tokenizer = tokenizer
        self.compute = compute
        self.defaults = defaults
        self._model = model
        if opened is None:
            self.engine: TextEngine = Engine(TorchRunner(self.decoder, compute), tokenizer)
            self.engine_name: EngineName = "torch"
            self.engine_reason = Text("a decoder of PyTorch was given", "给出的是 PyTorch 解码器")
        else:
            self.engine, self.engine_name = opened.engine, opened.name
            self.engine_reason = opened.reason
        self.driver = Driver(self.engine)

    @cached_property
    def decoder(self) -> Decoder:
        """The model as PyTorch modules in float32, opened when first asked for where another engine runs it."""
        if isinstance(self._model, Decoder):
            return self._model
        return load_model(self._model, self.compute)[0]

    @property
    def adapters(self) -> Adapters | None:
        """Those that requests may name; None where the engine takes none."""
        return self.engine.adapters if isinstance(self.engine, Engine) else None

    @property
    def window(self) -> int:
        """The most tokens that prompt and continuation may have together."""
        return self.engine.window

    @cached_property
    def chat_template(self) -> ChatTemplate:
        """The model's own chat template; raises `CheckpointError` when it has none."""
        return ChatTemplate(self.tokenizer)

    @overload
    def generate(
        self, prompt: str, *, adapter: str | None = ..., overflow: Overflow = ..., **parameters: Any
    ) -> Completion: ...

    @overload
    def generate(
        self, prompt: Sequence[str], *, adapter: str | None = ..., overflow: Overflow = ..., **parameters: Any
    ) -> list[Completion]: ...

    def generate(
        self,
        prompt: str | Sequence[str],
        *,
        adapter: str | None = None,
        overflow: Overflow = "refuse",
        **parameters: Any,
    ) -> Completion | list[Completion]:
        """Continue a text, or several together. Raises as `request`."""
        several = [prompt] if isinstance(prompt, str) else prompt
        requests = [self.request(one, adapter=adapter, overflow=overflow, **parameters) for one in several]
        completions = list(self.finish(requests))
        return completions[0] if isinstance(prompt, str) else completions

    def stream(
        self, prompt: str, *, adapter: str | None = None, overflow: Overflow = "refuse", **parameters: Any
    ) -> Iterator[Piece]:
        """As `generate`, piece by piece. Wrong input raises at once; leaving the loop early cancels the
        rest."""
        return self.driver.stream(self.request(prompt, adapter=adapter, overflow=overflow, **parameters))

    def chat(
        self,
        messages: Messages,
        *,
        adapter: str | None = None,
        overflow: Overflow = "trim",
        **parameters: Any,
    ) -> Completion:
        """Answer a conversation that ends with a turn of the user. Raises as `request`."""
        request = self.request(messages, adapter=adapter, overflow=overflow, **parameters)
        return next(self.finish([request]))

    def stream_chat(
        self,
        messages: Messages,
        *,
        adapter: str | None = None,
        overflow: Overflow = "trim",
        **parameters: Any,
    ) -> Iterator[Piece]:
        """As `chat`, piece by piece. To know of dropped turns, make a `request` and give it to `driver`."""
        return self.driver.stream(self.request(messages, adapter=adapter, overflow=overflow, **parameters))

    def samples(
        self,
        prompt: str | Messages,
        n: int,
        *,
        adapter: str | None = None,
        overflow: Overflow | None = None,
        **parameters: Any,
    ) -> list[Completion]:
        """`n` continuations of a text, or answers to a conversation, each drawn by itself.

        The k-th, from 0, has the seed `seed + k` if one was given. Raises as `request`.
        """
        request = self.request(prompt, adapter=adapter, overflow=overflow, **parameters)
        return list(self.finish(request.drawn(n)))

    def beam(
        self,
        prompt: str | Messages,
        *,
        max_new_tokens: int | None = None,
        adapter: str | None = None,
        overflow: Overflow | None = None,
        **settings: Any,
    ) -> list[BeamText]:
        """The likeliest continuations, best first, found by beam search. settings: fields of `BeamConfig`.

        What is being generated meanwhile ends first. Raises as `request` and `likeliest_texts`, and `ConfigError` for an
        engine that cannot search.
        """
        config = BeamConfig.chosen(settings)
        request = self.request(
            prompt,
            adapter=adapter,
            overflow=overflow,
            **({} if max_new_tokens is None else {"max_new_tokens": max_new_tokens}),
        )
        ids, most = [request.prompt.ids], request.parameters.max_new_tokens
        with self._runner() as runner:
            (found,) = likeliest_texts(
                runner, self.tokenizer, ids, config, max_new_tokens=most, adapter=adapter
            )
        return found

    def request(
        self,
        prompt: str | Messages,
        *,
        adapter: str | None = None,
        overflow: Overflow | None = None,
        **parameters: Any,
    ) -> Request:
        """What the methods above ask of the engine, checked, for `finish` or `driver.stream`.

        overflow: "trim" keeps what fits of a prompt that leaves too little room: of a conversation whole turns, of a
        text its end; its `prompt` and results tell. "refuse" raises. Default: conversations are trimmed, texts are not.
        Raises `RequestError` for a prompt without any room, wrong parameters, a conversation that does not end with the
        user, and an adapter that is not there; `CheckpointError` for a conversation when the model has no chat template.
        """
        changed = self.defaults.changed(parameters)
        window, most = self._room(adapter), changed.max_new_tokens
        if not isinstance(prompt, str):
            messages = as_messages(prompt)
            fitted = fit_conversation(self.chat_template, messages, window, most, overflow or "trim")
        else:
            fitted = ChatPrompt(self.tokenizer.encode_prompt(prompt))
            if overflow == "trim":
                fitted = fit_text(fitted.ids, window, most, len(self.tokenizer.encode_prompt("")))
        self.engine.check_prompt(fitted.ids, adapter)
        return Request(fitted, changed, adapter)

    def finish(self, requests: Iterable[Request], ahead: int = 0) -> Iterator[Completion]:
        """The results of requests, in their order; up to `ahead` (default: twice the engine's rows) wait or run."""
        for request, generation in self.driver.finish(requests, ahead or 2 * self.engine.max_rows):
            yield completion_of(self.name, request, generation)

    def chat_prompt(self, messages: Messages, max_new_tokens: int | None = None) -> ChatPrompt:
        """The ids that `chat` continues, and how many old turns had to go. Raises as `fit_conversation`."""
        room = self.defaults.max_new_tokens if max_new_tokens is None else max_new_tokens
        return fit_conversation(self.chat_template, as_messages(messages), self.window, room)

    def logprob(self, text: str, continuation: str | None = None) -> float:
        """log P(continuation | text), or log P(text), in nats: the sum over tokens of log P(x_t | x_<t).

        Both parts are encoded on their own, so that logprob(a + b) = logprob(a) + logprob(a, b) wherever a
        token ends between a and b. The first token is conditioned on the begin token; models without one
        cannot tell its probability, and it only serves as condition. Windows as in
        `token_scores`. Raises `RequestError` when no token is left to score, and as `beam` for an engine that cannot.
        """
        ids = self.tokenizer.encode_prompt(text)
        first = 1
        if continuation is not None:
            first = max(1, len(ids))
            ids = [*ids, *self.tokenizer.encode(continuation)]
        if first >= len(ids):
            raise _nothing_to_score()
        with self._runner() as runner:
            (scores,) = runner_scores(runner, [ids], [first])
        return float(scores.log_p.sum())

    @cached_property
    def encoder(self) -> SentenceEncoder:
        """The same weights as a model that turns texts into vectors; see `load_encoder`."""
        folder = self._model if isinstance(self._model, Path) else None
        settings = sentence_settings(folder, self.decoder.config)
        return SentenceEncoder(self.name, self.decoder, self.tokenizer, self.compute, settings)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """The vectors of `texts`, (N, C) float32, from the last hidden states. Raises as `SentenceEncoder.embed`."""
        return self.encoder.embed(texts).vectors_NC

    def fill(self, text: str, k: int = 5) -> list[list[Guess]]:
        """The likeliest tokens in the place of each mask. Raises `RequestError`: only masked language models, which
        `hanlin.load_encoder` opens, can."""
        return self.encoder.fill(text, k)

    @contextmanager
    def _runner(self) -> Iterator[Runner]:
        """What computes, with nothing in its slots and for the caller alone; what is left there is forgotten."""
        if not isinstance(self.engine, Engine):
            raise _only_texts(self.engine_name)
        with self.driver.alone():
            self.engine.forget()
            try:
                yield self.engine.runner
            finally:
                self.engine.forget()

    def _room(self, adapter: str | None) -> int:
        """What an adapter leaves of the window."""
        adapters = self.adapters
        if adapters is None or adapter is None:
            return self.window
        adapters.check(adapter)
        return self.window - adapters.positions(adapter)


def _guessing(opened: OpenedEngine, draft: OpenedEngine | None) -> Engine:
    """The same engine, with guesses by a draft model or from the text."""
    if not isinstance(opened.engine, Engine) or (draft is not None and not isinstance(draft.engine, Engine)):
        raise ConfigError(
            Text(f"The engine {opened.name} takes no speculation from here.", f"此处的引擎 {opened.name} 不支持推测解码。"),
            Text("Leave it out, or use engine auto or torch.", "请去掉它，或使用 auto 或 torch 引擎。"),
        )  # fmt: skip
    runner, tokenizer = opened.engine.runner, opened.tokenizer
    proposer: Proposer = PromptLookup()
    if draft is not None:
        assert isinstance(draft.engine, Engine)
        proposer = DraftModel(draft.engine.runner, draft.tokenizer, runner, tokenizer)
    return Engine(runner, tokenizer, opened.engine.max_rows, proposer=proposer)


def _only_texts(engine: str) -> ConfigError:
    return ConfigError(
        Text(f"The engine {engine} gives texts, and neither beam search nor log-probabilities of given ones.",
             f"引擎 {engine} 只生成文本，不能做束搜索，也不能计算给定文本的对数概率。"),
        Text("Open the model with engine auto or torch.", "请以 auto 或 torch 引擎打开模型。"),
    )  # fmt: skip


def _nothing_to_score() -> RequestError:
    return RequestError(
        Text("There is no token to score.", "没有可以计算概率的词元。"),
        Text("Give a longer text, or a continuation that is not empty.", "请给出更长的文本，或非空的续文。"),
    )


def load(
    folder: Path | str,
    device: DeviceName = "auto",
    *,
    engine: EngineName = "auto",
    weights: WeightsName = "auto",
    adapters: Mapping[str, Path | str] = MappingProxyType({}),
    max_rows: int = 8,
    window: int | None = None,
    threads: int | None = None,
    speculation: Path | str | None = None,
    compiled: bool = False,
) -> LanguageModel:
    """Open a model folder or file, ours or one of the ecosystem, or a model by name; arguments as for `open_engine`.

    speculation: what guesses tokens ahead, which changes speed and never a text: "prompt" looks them up in the prompt
    and text, anything else is a smaller model with the same tokens. Raises as `open_engine` and `DraftModel`.
    """
    folder = Path(folder)
    folders = {name: Path(path) for name, path in adapters.items()}
    opened = open_engine(folder, device, engine, weights, folders, max_rows, window, threads, compiled)
    if speculation is not None:
        draft = None
        if speculation != PROMPT:
            draft = open_engine(Path(speculation), device, threads=threads, window=window)
        opened = replace(opened, engine=_guessing(opened, draft))
    defaults = SamplingParameters().changed(opened.defaults.model_dump(exclude_none=True))
    name = folder.resolve().name
    return LanguageModel(name, opened.model, opened.tokenizer, opened.compute, defaults, opened)
