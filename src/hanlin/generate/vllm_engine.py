"""The engine on vLLM: it is handed a model folder, and does scheduling, caching and sampling itself."""

import itertools
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hanlin.base.device import Compute
from hanlin.base.errors import ConfigError, MissingExtra, RequestError
from hanlin.base.language import Text
from hanlin.generate import refusals
from hanlin.generate.generation import Generation, Piece
from hanlin.generate.parameters import SamplingParameters
from hanlin.generate.sampling import Chosen
from hanlin.tokenizer.tokenizer import Tokenizer

_SAME = (
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "repetition_penalty",
    "frequency_penalty",
    "presence_penalty",
)
"""Parameters that vLLM calls and counts as we do."""

_HERE = {"max_new_tokens", "min_new_tokens", "stop", "stop_ids", "seed", "log_probabilities"}
"""Parameters that are mapped one by one, or that apply to the text as it comes out."""


class VllmEngine:
    """Texts by vLLM; tokenizer, stop texts and streaming are ours. A seed repeats a text here, but not that of other
    engines, and parameters that vLLM does not know are refused by name."""

    def __init__(
        self,
        folder: Path,
        tokenizer: Tokenizer,
        compute: Compute,
        max_rows: int = 8,
        window: int | None = None,
    ) -> None:
        """folder: a model folder in a family that vLLM knows. Raises `MissingExtra` without vLLM, and `ConfigError`
        for a GGUF file and for a model that vLLM cannot open."""
        if not folder.is_dir():
            raise _no_folder(folder)
        try:
            from vllm import EngineArgs, LLMEngine
        except ImportError as error:
            raise MissingExtra(Text("The engine vLLM", "vLLM 引擎"), package="vllm") from error
        settings: dict[str, Any] = {
            "max_model_len": window,
            "max_num_seqs": max_rows,
            "skip_tokenizer_init": True,
        }
        dtype, on_cpu = str(compute.precision).removeprefix("torch."), compute.device.type == "cpu"
        try:
            arguments = EngineArgs(model=str(folder), dtype=dtype, enforce_eager=on_cpu, **settings)
            self._vllm: Any = LLMEngine.from_engine_args(arguments)
        except (ValueError, RuntimeError, NotImplementedError) as error:
            raise _not_opened(folder, error) from error
        self.tokenizer = tokenizer
        self.max_rows = max_rows
        self.window = int(self._vllm.model_config.max_model_len)
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._submitted: list[Generation] = []
        self._running: dict[str, Generation] = {}
        self._cancelled: set[int] = set()

    @property
    def busy(self) -> bool:
        """As `TextEngine`."""
        return bool(self._running or self._submitted)

    def submit(
        self, prompt_ids: Sequence[int], parameters: SamplingParameters, adapter: str | None = None
    ) -> Generation:
        """As `TextEngine`. Raises `RequestError` also for parameters that vLLM does not know."""
        self.check_prompt(prompt_ids, adapter)
        _check_parameters(parameters)
        limit = min(parameters.max_new_tokens, self.window - len(prompt_ids))
        generation = Generation(next(self._numbers), tuple(prompt_ids), parameters, limit, self.tokenizer)
        with self._lock:
            self._submitted.append(generation)
        return generation

    def check_prompt(self, prompt_ids: Sequence[int], adapter: str | None = None) -> None:
        """As `TextEngine`."""
        if adapter is not None:
            raise refusals.no_adapters(adapter)
        if not prompt_ids:
            raise refusals.empty_prompt()
        if len(prompt_ids) >= self.window:
            raise refusals.no_room(len(prompt_ids), self.window)
        if min(prompt_ids) < 0 or max(prompt_ids) >= self.tokenizer.vocab_size:
            raise refusals.outside(self.tokenizer.vocab_size)

    def cancel(self, generation: Generation) -> None:
        """As `TextEngine`."""
        with self._lock:
            if generation.finish_reason is None:
                self._cancelled.add(generation.id)

    def step(self) -> list[Piece]:
        """As `TextEngine`."""
        try:
            pieces = self._begin_and_cancel()
            if self._running:
                for output in self._vllm.step():
                    pieces += self._accept(output)
            return pieces
        except BaseException:
            self._abandon()
            raise

    def another(self, max_rows: int) -> "VllmEngine":
        """As `TextEngine`: itself, since vLLM takes the memory of the device."""
        return self

    def _begin_and_cancel(self) -> list[Piece]:
        with self._lock:
            submitted, self._submitted = self._submitted, []
            cancelled, self._cancelled = self._cancelled, set()
        for one in submitted:
            if one.id not in cancelled:
                self._running[str(one.id)] = one
                prompt = {"prompt_token_ids": list(one.prompt_ids)}
                self._vllm.add_request(str(one.id), prompt, _vllm_parameters(one))
        ended = [one for one in (*self._running.values(), *submitted) if one.id in cancelled]
        self._leave([one for one in ended if str(one.id) in self._running])
        return [one.cancel() for one in ended]

    def _accept(self, output: Any) -> list[Piece]:
        """The new tokens of one request; vLLM goes on after a stop text of ours, and is told to end."""
        generation = self._running.get(output.request_id)
        if generation is None:
            return []
        (said,) = output.outputs
        pieces = []
        count = generation.parameters.log_probabilities
        for place, id in enumerate(said.token_ids):
            pieces.append(generation.accept(_chosen(id, said.logprobs and said.logprobs[place], count)))
            if generation.finish_reason is not None:
                break
        if generation.finish_reason is None and said.finish_reason is not None:
            pieces.append(generation.cancel())
        if generation.finish_reason is not None:
            self._leave([generation])
        return pieces

    def _leave(self, generations: Sequence[Generation]) -> None:
        names = [str(one.id) for one in generations]
        if names:
            self._vllm.abort_request(names)
        for name in names:
            del self._running[name]

    def _abandon(self) -> None:
        with self._lock:
            left = [*self._running.values(), *self._submitted]
            self._submitted, self._cancelled = [], set()
        self._vllm.abort_request(list(self._running))
        self._running = {}
        for one in left:
            if one.finish_reason is None:
                one.cancel()


def _vllm_parameters(generation: Generation) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    ours = generation.parameters
    return SamplingParams(
        **{name: getattr(ours, name) for name in _SAME},
        logit_bias={int(id): bias for id, bias in ours.logit_bias.items()} or None,
        max_tokens=generation.limit,
        min_tokens=min(ours.min_new_tokens, generation.limit),
        stop_token_ids=sorted({*generation.tokenizer.stop_ids, *ours.stop_ids}),
        seed=generation.seed,
        logprobs=ours.log_probabilities,
        detokenize=False,
        output_kind=RequestOutputKind.DELTA,
    )


def _chosen(id: int, said: Any, count: int | None) -> Chosen:
    """A token, with the log-probabilities that vLLM gives by id: of the likeliest `count`, and of the token itself."""
    if said is None or count is None:
        return Chosen(id)
    top = sorted(((other, one.logprob) for other, one in said.items()), key=lambda pair: -pair[1])
    return Chosen(id, said[id].logprob, tuple(top[:count]))


def _check_parameters(parameters: SamplingParameters) -> None:
    """Raise `RequestError` naming what is asked for and vLLM cannot do."""
    plain = SamplingParameters()
    known = {*_SAME, *_HERE, "logit_bias"}
    wrong = [name for name in type(parameters).model_fields if name not in known]
    wrong = [name for name in wrong if getattr(parameters, name) != getattr(plain, name)]
    if not all(isinstance(id, int) for id in parameters.logit_bias):
        wrong.append("logit_bias")
    if wrong:
        raise RequestError(
            Text(f"The engine vLLM has no {', '.join(wrong)} here.", f"此处的 vLLM 引擎不支持 {'、'.join(wrong)}。"),
            Text("Leave these out, or use engine kernel or torch.", "请去掉这些参数，或改用 kernel 或 torch 引擎。"),
        )  # fmt: skip


def _no_folder(path: Path) -> ConfigError:
    return ConfigError(
        Text(f"The engine vLLM wants a model folder; {path} is a file.", f"vLLM 引擎需要模型目录，而 {path} 是文件。"),
        Text("Convert it: hanlin convert FILE FOLDER.", "请先转换：hanlin convert 文件 目录。"),
    )  # fmt: skip


def _not_opened(folder: Path, error: Exception) -> ConfigError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return ConfigError(
        Text(f"vLLM cannot open {folder}: {reason}", f"vLLM 无法打开 {folder}：{reason}"),
        Text("Use engine kernel or torch.", "请改用 kernel 或 torch 引擎。"),
    )
