"""The only engine: requests join and leave a running batch at any step.

Running requests hold the first rows of one slotted cache, without gaps, so that a step is one forward pass
over a contiguous part of it. B running rows, T tokens, V vocabulary.
"""

import itertools
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor

from hanlin.base.device import Compute
from hanlin.base.errors import CheckpointError, RequestError
from hanlin.base.language import Text
from hanlin.generate.generation import Generation, Piece
from hanlin.generate.parameters import SamplingParameters
from hanlin.generate.sampling import SamplingRows, draw, filter_logits
from hanlin.model.adapters.adapters import Adapters
from hanlin.model.cache import KeyValueCache
from hanlin.model.decoder import Decoder
from hanlin.tokenizer.tokenizer import Tokenizer

__all__ = ["Engine", "Generation", "Piece"]


class Engine:
    """Generates for up to `max_rows` requests at once; further ones wait in order.

    `submit`, `cancel` and `busy` may be called from any thread. `step` is for one thread at a time: whoever
    drives the engine, and who alone may change `adapters`, between steps. The cache grows with the requests that
    run at once, to at most `max_rows` whole windows.
    """

    def __init__(
        self,
        model: Decoder,
        tokenizer: Tokenizer,
        compute: Compute,
        max_rows: int = 8,
        adapters: Adapters | None = None,
        window: int | None = None,
    ) -> None:
        """window: tokens of one request, prompt and continuation, for which memory is taken; default: the model's."""
        assert max_rows >= 1
        if model.config.vocab_size < tokenizer.vocab_size:
            raise _wrong_tokenizer(model.config.vocab_size, tokenizer.vocab_size)
        self.model = model.to(compute.device).eval()
        self.tokenizer = tokenizer
        self.compute = compute
        self.max_rows = max_rows
        self.adapters = adapters
        self.window = min(window or model.config.window, model.config.window)
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._waiting: deque[Generation] = deque()
        self._cancelled: set[int] = set()
        self._running: list[Generation] = []
        self._sampling: SamplingRows | None = None
        self._cache: KeyValueCache | None = None
        self._seen: dict[int, Tensor] = {}

    @property
    def busy(self) -> bool:
        """Whether a step would do anything."""
        return bool(self._running or self._waiting)

    def submit(
        self, prompt_ids: Sequence[int], parameters: SamplingParameters, adapter: str | None = None
    ) -> Generation:
        """Ask for a continuation of `prompt_ids`, by the base or an adapter; it begins at one of the next steps.

        It ends with "length" after `max_new_tokens` or when the window is full, and as "cancelled" when its
        adapter is removed. Raises as `check_prompt`.
        """
        prompt = tuple(prompt_ids)
        self.check_prompt(prompt, adapter)
        room = self.window - self._taken(adapter) - len(prompt)
        limit = min(parameters.max_new_tokens, room)
        generation = Generation(next(self._numbers), prompt, parameters, limit, self.tokenizer, adapter)
        with self._lock:
            self._waiting.append(generation)
        return generation

    def check_prompt(self, prompt_ids: Sequence[int], adapter: str | None = None) -> None:
        """Raise `RequestError` when a prompt is empty, holds ids outside the vocabulary or fills the
        window, and for an adapter that is not there."""
        if not prompt_ids:
            raise _empty_prompt()
        room = self.window - self._taken(adapter)
        if len(prompt_ids) >= room:
            raise _no_room(len(prompt_ids), room)
        if not all(0 <= id < self.tokenizer.vocab_size for id in prompt_ids):
            raise _outside(self.tokenizer.vocab_size)

    def cancel(self, generation: Generation) -> None:
        """End `generation` at the next step with the reason "cancelled"; one that has ended stays as it
        is."""
        with self._lock:
            if generation.finish_reason is None:
                self._cancelled.add(generation.id)

    @torch.inference_mode()
    def step(self) -> list[Piece]:
        """Advance every running request by one token, then begin waiting ones while rows are free.

        Gives a piece, perhaps with empty text, for every request that advanced or ended. Raises
        `CheckpointError` when the model gives no finite logits. After an exception nothing runs or waits
        any more; all that did is "cancelled".
        """
        try:
            return [*self._drop_cancelled(), *self._decode(), *self._admit()]
        except BaseException:
            self._abandon()
            raise

    def _drop_cancelled(self) -> list[Piece]:
        with self._lock:
            cancelled, self._cancelled = self._cancelled, set()
            cancelled |= {row.id for row in (*self._running, *self._waiting) if not self._has(row.adapter)}
            if not cancelled:
                return []
            waiting = [generation for generation in self._waiting if generation.id in cancelled]
            self._waiting = deque(
                generation for generation in self._waiting if generation.id not in cancelled
            )
        running = [generation for generation in self._running if generation.id in cancelled]
        pieces = [generation.cancel() for generation in (*running, *waiting)]
        self._leave()
        return pieces

    def _decode(self) -> list[Piece]:
        """One token for every running row, in one forward pass."""
        if not self._running:
            return []
        last_B1 = torch.tensor([[row.token_ids[-1]] for row in self._running], device=self.compute.device)
        logits_BV = self._logits(last_B1, self._storage().rows(0, len(self._running)), self._running)
        if self._sampling is None:
            self._sampling = SamplingRows.of([row.parameters for row in self._running], self.compute.device)
        ids = self._choose(logits_BV, self._running, self._sampling)
        pieces = [row.accept(id) for row, id in zip(self._running, ids, strict=True)]
        self._leave()
        return pieces

    def _admit(self) -> list[Piece]:
        """Read the whole prompts of waiting requests, one after the other, into free rows; each gives its
        first token."""
        pieces = []
        while len(self._running) < self.max_rows:
            with self._lock:
                if not self._waiting:
                    break
                generation = self._waiting.popleft()
                self._running.append(generation)
            row = len(self._running) - 1
            self._storage(row + 1).clear(row)
            self._sampling = None
            if generation.parameters.repetition_penalty != 1:
                self._seen[generation.id] = self._marks(generation.prompt_ids)
            virtual = [] if self.adapters is None else self.adapters.prompt_ids(generation.adapter)
            prompt_1T = torch.tensor([[*virtual, *generation.prompt_ids]], device=self.compute.device)
            logits_1V = self._logits(prompt_1T, self._storage().rows(row, row + 1), [generation])
            rows = SamplingRows.of([generation.parameters], self.compute.device)
            (id,) = self._choose(logits_1V, [generation], rows)
            pieces.append(generation.accept(id))
            self._leave()
        return pieces

    def _logits(self, tokens_BT: Tensor, cache: KeyValueCache, generations: Sequence[Generation]) -> Tensor:
        """Logits after the last token of each row: (B, V), float32, V that of the tokenizer."""
        names = [row.adapter for row in generations]
        through = nullcontext() if self.adapters is None else self.adapters.rows(names)
        with self.compute.autocast(), through:
            hidden_BC = self.model.hidden(tokens_BT, cache=cache)[:, -1]
            logits_BV = self.model.logits(hidden_BC)
        return logits_BV[:, : self.tokenizer.vocab_size]

    def _choose(self, logits_BV: Tensor, generations: Sequence[Generation], rows: SamplingRows) -> list[int]:
        if not bool(logits_BV.amax(dim=-1).isfinite().all()):
            raise _not_finite()
        seen_BV = None
        if rows.uses_penalty:
            nothing_V = torch.zeros_like(logits_BV[0], dtype=torch.bool)
            seen_BV = torch.stack([self._seen.get(row.id, nothing_V) for row in generations])
        logits_BV = filter_logits(logits_BV, rows, seen_BV)
        if rows.greedy:
            ids: list[int] = logits_BV.argmax(dim=-1).tolist()
        else:
            uniform = [[row.uniform()] for row in generations]
            ids = draw(logits_BV, torch.tensor(uniform, dtype=torch.float64).to(logits_BV.device)).tolist()
        for row, id in zip(generations, ids, strict=True):
            if row.id in self._seen:
                self._seen[row.id][id] = True
        return ids

    def _leave(self) -> None:
        """Free the rows of ended generations; the last row moves into each gap."""
        for row in reversed(range(len(self._running))):
            if self._running[row].finish_reason is None:
                continue
            self._seen.pop(self._running[row].id, None)
            last = self._running.pop()
            if row < len(self._running):
                self._storage().move(len(self._running), row)
                self._running[row] = last
            self._storage().clear(len(self._running))
            self._sampling = None

    def _marks(self, ids: Sequence[int]) -> Tensor:
        marks_V = torch.zeros(self.tokenizer.vocab_size, dtype=torch.bool)
        marks_V[list(ids)] = True
        return marks_V.to(self.compute.device)

    def _taken(self, adapter: str | None) -> int:
        """How much of the window an adapter takes. Raises `RequestError` for one that is not there."""
        if adapter is None:
            return 0
        if self.adapters is None:
            raise _no_adapters(adapter)
        self.adapters.check(adapter)
        return self.adapters.positions(adapter)

    def _has(self, adapter: str | None) -> bool:
        return adapter is None or (self.adapters is not None and adapter in self.adapters.configs)

    def _storage(self, rows: int = 1) -> KeyValueCache:
        """The cache, grown (twofold, so that it is seldom) until it has `rows`."""
        if self._cache is None:
            config, compute = self.model.config, self.compute
            self._cache = KeyValueCache(config, rows, self.window, compute.device, compute.precision)
        held = len(self._cache.lengths_B)
        if held < rows:
            self._cache = self._cache.grown(min(self.max_rows, 2 * held))
        return self._cache

    def _abandon(self) -> None:
        with self._lock:
            ended = [*self._running, *self._waiting]
            self._running, self._waiting, self._cancelled = [], deque(), set()
        self._seen, self._sampling, self._cache = {}, None, None
        for generation in ended:
            if generation.finish_reason is None:
                generation.cancel()


def _empty_prompt() -> RequestError:
    return RequestError(
        Text("The prompt is empty.", "提示词为空。"),
        Text("Give at least one word to continue.", "请至少给出一个要续写的词。"),
    )


def _no_room(length: int, window: int) -> RequestError:
    return RequestError(
        Text(
            f"The prompt has {length} tokens; the model's window of {window} must leave room for at "
            "least one more.",
            f"提示词有 {length} 个词元，而模型窗口为 {window}，必须至少留出一个词元的空间。",
        ),
        Text(
            "Shorten the prompt, or use a model with a longer window.", "请缩短提示词，或换用窗口更长的模型。"
        ),
    )


def _no_adapters(name: str) -> RequestError:
    return RequestError(
        Text(f"There is no adapter {name}: this model has none.", f"没有适配器 {name}：该模型没有适配器。"),
        Text("Name no adapter, or load it first.", "请不要指定适配器，或先载入它。"),
    )


def _outside(size: int) -> RequestError:
    return RequestError(
        Text(
            f"The prompt holds ids outside the vocabulary of {size}.",
            f"提示词中有超出词表大小 {size} 的编号。",
        ),
        Text("Encode the prompt with the tokenizer of this model.", "请用该模型的分词器编码提示词。"),
    )


def _wrong_tokenizer(model: int, tokenizer: int) -> CheckpointError:
    return CheckpointError(
        Text(
            f"The tokenizer has {tokenizer} tokens, the model only {model}: they do not belong together.",
            f"分词器有 {tokenizer} 个词元，而模型只有 {model} 个：二者不匹配。",
        ),
        Text("Use the tokenizer that the model was trained with.", "请使用训练该模型时所用的分词器。"),
    )


def _not_finite() -> CheckpointError:
    return CheckpointError(
        Text(
            "The model gives no finite logits: its weights are damaged.",
            "模型的输出不是有限数值：其权重已损坏。",
        ),
        Text("Use an earlier checkpoint.", "请使用更早的检查点。"),
    )
