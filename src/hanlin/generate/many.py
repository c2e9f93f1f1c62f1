"""Many prompts at once through the one engine."""

from collections.abc import Sequence

from hanlin.base.device import Compute
from hanlin.base.progress import progress_bar
from hanlin.generate.engine import Engine
from hanlin.generate.generation import Generation
from hanlin.generate.parameters import SamplingParameters
from hanlin.generate.torch_runner import TorchRunner
from hanlin.model.adapters.adapters import Adapters
from hanlin.model.decoder import Decoder
from hanlin.tokenizer.tokenizer import Tokenizer

ROWS_AT_ONCE = {"cpu": 16, "cuda": 64, "mps": 16}
"""Requests that run at once."""


def continue_all(
    model: Decoder,
    tokenizer: Tokenizer,
    compute: Compute,
    prompts: Sequence[Sequence[int]],
    parameters: SamplingParameters,
    *,
    adapters: Adapters | None = None,
    adapter: str | None = None,
    title: str = "",
) -> list[Generation]:
    """A continuation of each prompt, by the base or an adapter; with a `title`, progress is shown.

    Raises as `Engine.submit`.
    """
    if not prompts:
        return []
    taken = 0 if adapters is None else adapters.positions(adapter)
    longest = taken + max(map(len, prompts)) + parameters.max_new_tokens
    at_once = ROWS_AT_ONCE[compute.device.type]
    runner = TorchRunner(model, compute, at_once, longest, adapters)
    engine = Engine(runner, tokenizer, at_once)
    generations = [engine.submit(ids, parameters, adapter) for ids in prompts]
    with progress_bar() as bar:
        task = bar.add_task(title, total=len(prompts), detail="", visible=bool(title))
        while engine.busy:
            bar.advance(task, sum(piece.finish_reason is not None for piece in engine.step()))
    return generations
