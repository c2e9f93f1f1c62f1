"""What constrained output costs: time to compile, time per token for the mask, and tokens per second with and without.

    OMP_NUM_THREADS=1 python benchmarks/constraint_cost.py [--model smollm2-135m-instruct] [--tokens 64]

Masks are timed over random permitted tokens, which is harder than what a model writes; speeds are those of the model's
own texts, in turn, best of three. Every figure is of one thread.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

import hanlin
from hanlin.checkpoint.known import locate
from hanlin.generate.controls import Controls
from hanlin.generate.grammar import _vocabulary
from hanlin.generate.parameters import SamplingParameters
from hanlin.generate.sampling import choose
from hanlin.tokenizer.tokenizer import Tokenizer

CONSTRAINTS: dict[str, dict[str, Any]] = {
    "choices": {"choices": ["positive", "negative", "neutral", "不好说"]},
    "regex": {"regex": r"[0-9]{4}-[0-9]{2}-[0-9]{2}( [A-Z][a-z]{2,12}){8}"},
    "record": {
        "json_schema": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "maxLength": 40},
                "age": {"type": "integer", "minimum": 0, "maximum": 130},
                "tags": {
                    "type": "array",
                    "items": {"enum": ["red", "green", "蓝"]},
                    "minItems": 3,
                    "maxItems": 6,
                },
                "summary": {"type": "string", "minLength": 60, "maxLength": 200},
            },
            "required": ["name", "age", "tags", "summary"],
            "additionalProperties": False,
        }
    },
    "any JSON object": {"json_schema": {"type": "object"}},
    "grammar": {"grammar": 'start: term (("+" | "-") term){20}\nterm: /[1-9][0-9]{0,5}/ | "(" start ")"'},
}


class Babble:
    """A request whose text is random tokens that its constraint permits."""

    def __init__(self, asked: dict[str, Any], tokenizer: Tokenizer, random: torch.Generator) -> None:
        self.parameters = SamplingParameters().changed(asked)
        self.controls = Controls.of(self.parameters, (), tokenizer)
        self.token_ids: list[int] = []
        self._random = random

    def uniform(self) -> float:
        """The next random number."""
        return float(torch.rand((), dtype=torch.float64, generator=self._random))


def microseconds(work: Callable[[], Any], times: int = 30) -> float:
    """The median time of some work."""
    spans = []
    for _ in range(times):
        begin = time.perf_counter()
        work()
        spans.append(time.perf_counter() - begin)
    return float(np.median(spans)) * 1e6


def mask_times(asked: dict[str, Any], tokenizer: Tokenizer) -> Iterator[float]:
    """Microseconds of each mask, computed and applied, over some random texts."""
    random = torch.Generator().manual_seed(0)
    for _ in range(6):
        request = Babble(asked, tokenizer, random)
        assert request.controls is not None
        for _ in range(80):
            logits_1V = torch.randn(1, tokenizer.vocab_size, generator=random)
            row_V = logits_1V[0].clone()
            begin = time.perf_counter()
            request.controls.apply(row_V, request.token_ids)
            yield (time.perf_counter() - begin) * 1e6
            request.token_ids.append(choose(logits_1V, [request])[0].id)
            if request.token_ids[-1] in tokenizer.stop_ids or request.controls.ended(request.token_ids):
                break


def tokens_per_second(model: Any, prompt: str, **asked: Any) -> tuple[float, int]:
    """Best of three, and how many tokens there were."""
    best, count = 0.0, 0
    for _ in range(3):
        begin = time.perf_counter()
        count = model.generate(prompt, temperature=0, **asked).new_tokens
        best = max(best, count / (time.perf_counter() - begin))
    return best, count


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--tokens", type=int, default=64)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = hanlin.load(locate(arguments.model), device="cpu")
    tokenizer = model.tokenizer
    begin = time.perf_counter()
    _vocabulary(tokenizer)
    print(f"vocabulary of {tokenizer.vocab_size}: read once in {time.perf_counter() - begin:.2f} s")
    row_V = torch.randn(1, tokenizer.vocab_size)
    greedy = Babble({"temperature": 0}, tokenizer, torch.Generator())
    print(f"a greedy choice without a constraint: {microseconds(lambda: choose(row_V, [greedy])):.0f} µs")
    print(
        f"\n{'constraint':18}{'compile ms':>12}{'again µs':>10}{'mask µs: median':>17}{'90 %':>8}{'most':>8}"
    )
    for name, asked in CONSTRAINTS.items():
        parameters = SamplingParameters().changed(asked)
        begin = time.perf_counter()
        Controls.of(parameters, (), tokenizer)
        compiled = (time.perf_counter() - begin) * 1e3
        again = microseconds(lambda: Controls.of(parameters, (), tokenizer))  # noqa: B023
        spans = np.array(list(mask_times(asked, tokenizer)))
        middle, most = np.percentile(spans, [50, 90])
        print(f"{name:18}{compiled:12.0f}{again:10.0f}{middle:17.0f}{most:8.0f}{spans.max():8.0f}")
    print(f"\n{'text':18}{'tokens':>8}{'tokens/s':>10}")
    prompt = "Here is a record of a person:\n"
    for name, more in {
        "free": {},
        **{name: CONSTRAINTS[name] for name in ("record", "any JSON object")},
    }.items():
        speed, count = tokens_per_second(
            model,
            prompt,
            min_new_tokens=0 if more else arguments.tokens,
            max_new_tokens=arguments.tokens,
            **more,
        )
        print(f"{name:18}{count:8}{speed:10.1f}")
    text = model.generate(prompt, temperature=0, max_new_tokens=200, **CONSTRAINTS["record"])
    print(f"\n{text.finish_reason}: {json.loads(text.text) if text.finish_reason == 'stop' else text.text}")


if __name__ == "__main__":
    main()
