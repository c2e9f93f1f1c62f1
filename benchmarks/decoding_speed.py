"""Speed of Hanlin's engine beside llama.cpp, in turn, on the same files with two threads.

For the model as it is shipped (Q4_1), Q4_0 and Q8_0: one stream after 16 and after 512 tokens of context, reading a
prompt of 512, eight streams together (tokens/s of all). llama.cpp runs in another interpreter, with flash attention
and without, of which the faster one of each round counts. Beside it how fast this machine reads memory: the roof of
one stream, which has to read all weights for every token. Also seconds from the start of the process to the first
token, and the memory of both processes.

    python benchmarks/decoding_speed.py --llamacpp-python PATH/TO/python
    python benchmarks/decoding_speed.py --transformers      # beside transformers.generate in float32
"""

import argparse
import statistics
from pathlib import Path
from pydoc_data.topics import topics
from tempfile import TemporaryDirectory
from typing import Any

from memory_roof import MemoryRoof
from workers import Worker, print_ratio, three

from hanlin.checkpoint.gguf.header import read_header
from hanlin.checkpoint.known import locate
from hanlin.stages.convert import run_convert

STREAMS = 8
TASKS = ("decode after 16", "decode after 512", "prefill of 512", f"{STREAMS} streams")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--llamacpp-python", help="a Python that has llama-cpp-python")
    parser.add_argument("--transformers", action="store_true", help="beside transformers.generate, float32")
    parser.add_argument("--formats", nargs="*", default=["shipped", "Q4_0", "Q8_0"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=64, help="how many each text gets")
    asked = parser.parse_args()
    with TemporaryDirectory() as folder:
        place, shipped = Path(folder), locate(asked.model)
        rates: dict[str, dict[str, list[list[float]]]] = {}
        for format in asked.formats:
            path = shipped if format == "shipped" else write(shipped, place, format)
            rates[format] = compare(path, format, asked)
        if asked.llamacpp_python:
            against_best(rates)
        if asked.transformers:
            run_convert(shipped, place / "folder", None, None)
            against_transformers(shipped, place / "folder", asked)


def write(shipped: Path, place: Path, kind: Any) -> Path:
    run_convert(shipped, place / f"{kind}.gguf", None, kind)
    return place / f"{kind}.gguf"


def compare(path: Path, format: str, options: argparse.Namespace) -> dict[str, list[list[float]]]:
    """Rates of both, [ours, theirs], by task."""
    python, threads, peer = options.llamacpp_python, options.threads, None
    ours = Worker("hanlin", "hanlin_worker.py", path, threads)
    if python is not None:
        peer = Worker("llama.cpp", "llamacpp_worker.py", path, threads, python=python)
    ids = ours.ask("encode", text="\n".join(topics.values()))
    roof, roofs = MemoryRoof(threads), []
    rates: dict[str, list[list[float]]] = {task: [[], []] for task in TASKS}
    for number in range(options.rounds + 1):
        roofs.append(roof.measure())
        for task in TASKS:
            question = question_of(task, ids[1000 * number :], options.tokens)
            rates[task][0].append(ours.ask(**question))
            if peer is not None:
                rates[task][1].append(max(peer.ask(**question, flash=flash) for flash in (True, False)))
    for of_task in rates.values():  # the first round warms up
        of_task[:] = [one[1:] for one in of_task]
    size = weights_bytes(path)
    print(
        f"\n{format}: {path.name}, {size / 1e6:.0f} MB of weights; memory {three([one / 1e9 for one in roofs], '.1f')} GB/s;"
    )
    limit = statistics.median(roofs) / size
    print(f"  the roof of one stream with little context is {limit:.0f} tokens/s")
    for task in TASKS:
        if peer is None:
            print(f"  {task:<22} {three(rates[task][0])} tokens/s")
        else:
            print_ratio(task, *rates[task])
    shares = [rate * size / speed for rate, speed in zip(rates[TASKS[0]][0], roofs[1:], strict=True)]
    print(f"  of the roof            {three(shares, '.2f')}")
    for worker in filter(None, (ours, peer)):
        peak = worker.ask("peak") / 2**20
        print(f"  {worker.name}: {worker.seconds_to_first:.2f} s to the first token, at most {peak:.0f} MiB")
        worker.stop()
    return rates


def question_of(task: str, ids: list[int], tokens: int) -> dict[str, Any]:
    match task:
        case "decode after 16":
            return {"task": "decode", "prompts": [ids[:16]], "tokens": tokens}
        case "decode after 512":
            return {"task": "decode", "prompts": [ids[:512]], "tokens": tokens}
        case "prefill of 512":
            return {"task": "prefill", "ids": ids[:512]}
    return {
        "task": "decode",
        "prompts": [ids[60 * k : 60 * k + 32] for k in range(STREAMS)],
        "tokens": tokens,
    }


def weights_bytes(path: Path) -> int:
    """What one token reads: all tensors, the embedding only where it is the head as well."""
    tensors = read_header(path).tensors
    untied = tensors["token_embd.weight"].size if "output.weight" in tensors else 0
    return sum(tensor.size for tensor in tensors.values()) - untied


def against_best(rates: dict[str, dict[str, list[list[float]]]]) -> None:
    print("\neach format against llama.cpp's fastest format")
    for task in TASKS[2:]:
        best = max(rates, key=lambda format: statistics.median(rates[format][task][1]))
        for format, of_format in rates.items():
            print_ratio(f"{task}, {format}/{best}", of_format[task][0], rates[best][task][1])


def against_transformers(shipped: Path, folder: Path, options: argparse.Namespace) -> None:
    ours = Worker("hanlin", "hanlin_worker.py", shipped, options.threads)
    peer = Worker("transformers", "transformers_worker.py", folder, options.threads)
    ids = ours.ask("encode", text="\n".join(topics.values()))
    question = question_of(TASKS[0], ids, options.tokens)
    ours.ask(**question), peer.ask(**question)
    pairs = [(ours.ask(**question), peer.ask(**question)) for _ in range(options.rounds)]
    print("\nas shipped, against transformers.generate in float32")
    print_ratio(TASKS[0], *zip(*pairs, strict=True), form=",.1f")
    for worker in (ours, peer):
        print(f"  {worker.name}: {worker.seconds_to_first:.2f} s to the first token")
        worker.stop()


if __name__ == "__main__":
    main()
