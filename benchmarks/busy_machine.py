"""Decoding beside processes that do nothing but keep a core busy: how much of its speed each engine keeps.

With two threads, alone and beside one and two busy loops, Hanlin and llama.cpp in turn. On two cores, beside two such
loops half of the machine is left.

    python benchmarks/busy_machine.py --llamacpp-python PATH/TO/python
"""

import argparse
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pydoc_data.topics import topics

from workers import Worker, three

from hanlin.checkpoint.known import locate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--llamacpp-python", help="a Python that has llama-cpp-python")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=32)
    asked = parser.parse_args()
    path = locate(asked.model)
    workers = [Worker("hanlin", "hanlin_worker.py", path, asked.threads)]
    ids = workers[0].ask("encode", text="\n".join(topics.values()))
    if asked.llamacpp_python:
        python = asked.llamacpp_python
        workers.append(Worker("llama.cpp", "llamacpp_worker.py", path, asked.threads, python=python))
    rates: dict[tuple[str, int], list[float]] = {
        (one.name, loops): [] for one in workers for loops in range(3)
    }
    for number in range(asked.rounds):
        for loops in range(3):
            with busy(loops):
                for worker in workers:
                    flash = {"flash": True} if worker.name == "llama.cpp" else {}
                    prompts = [ids[100 * number : 100 * number + 16]]
                    rate = worker.ask("decode", prompts=prompts, tokens=asked.tokens, **flash)
                    rates[worker.name, loops].append(rate)
    for worker in workers:
        print(worker.name)
        alone = statistics.median(rates[worker.name, 0])
        for loops in range(3):
            of_these = rates[worker.name, loops]
            share = statistics.median(of_these) / alone
            print(f"  beside {loops} busy loops  {three(of_these)} tokens/s, {share:.2f} of alone")
        worker.stop()


@contextmanager
def busy(loops: int) -> Iterator[None]:
    """Within it, so many processes that never rest."""
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
