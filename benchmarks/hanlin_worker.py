"""Hanlin as a worker (see workers.py): its engine with its sampler, as everything else in Hanlin uses it.

python hanlin_worker.py FILE THREADS --engine kernel --weights auto
"""

import argparse
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from workers import answer

from hanlin.generate.open_engine import open_engine
from hanlin.generate.parameters import SamplingParameters
from hanlin.generate.runner import Chunk


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("threads", type=int)
    parser.add_argument("--engine", default="kernel")
    parser.add_argument("--weights", default="auto")
    asked = parser.parse_args()
    opened: Any = open_engine(asked.file, "cpu", asked.engine, asked.weights, threads=asked.threads)
    engine = opened.engine

    def decode(prompts: list[list[int]], tokens: int) -> float:
        """All prompts side by side, from the moment when each has its first token."""
        engine.forget()
        parameters = SamplingParameters(temperature=0.0, max_new_tokens=tokens + 1)
        asked = [engine.submit(ids, parameters) for ids in prompts]
        while not all(one.new_tokens for one in asked):
            engine.step()
        begun, start = sum(one.new_tokens for one in asked), time.perf_counter()
        while engine.busy:
            engine.step()
        seconds = time.perf_counter() - start
        made = sum(one.new_tokens for one in asked) - begun
        assert made > len(prompts) * tokens / 2, "texts ended early: choose other prompts"
        return made / seconds

    def generate(prompts: list[list[int]], tokens: int) -> float:
        """All prompts side by side, reading them included."""
        parameters = SamplingParameters(temperature=0.0, max_new_tokens=tokens)
        start = time.perf_counter()
        texts = [engine.submit(ids, parameters) for ids in prompts]
        while engine.busy:
            engine.step()
        return sum(one.new_tokens for one in texts) / (time.perf_counter() - start)

    def prefill(ids: list[int]) -> float:
        engine.forget()
        asked = engine.submit(ids, SamplingParameters(temperature=0.0, max_new_tokens=1))
        start = time.perf_counter()
        while not asked.new_tokens:
            engine.step()
        seconds = time.perf_counter() - start
        return len(ids) / seconds

    def score(windows: list[list[int]]) -> list[float]:
        """The log-probability of every token but the first of each window, summed by window."""
        engine.forget()
        runner, sums = opened.engine.runner, []
        for ids in windows:
            total = 0.0
            runner.truncate(0, 0)
            for start, stop in pairwise((*range(0, len(ids) - 1, 128), len(ids) - 1)):
                logits_TV = runner.forward([Chunk(0, ids[start:stop], "all")]).double()
                targets = ids[start + 1 : stop + 1]
                said = logits_TV.log_softmax(-1)[range(len(targets)), targets]
                total += float(said.sum())
            sums.append(total)
        runner.truncate(0, 0)
        return sums

    def encode(text: str) -> list[int]:
        return list(opened.tokenizer.encode(text))

    tasks = {"decode": decode, "generate": generate, "prefill": prefill, "score": score, "encode": encode}
    answer(tasks, lambda: prefill([1, 2, 3, 4]))


if __name__ == "__main__":
    main()
