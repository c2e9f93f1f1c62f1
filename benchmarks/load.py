"""Streaming clients against a running server: time to first token, time between tokens, errors, memory.

    python benchmarks/load.py --url http://127.0.0.1:8000 --model NAME --streams 1 8 32 200 --seconds 60 --pid SERVER_PID

Works with any server of the OpenAI API, so llama.cpp's (`python -m llama_cpp.server --model FILE.gguf`) is measured with
the same command.
"""

import argparse
import asyncio
import json
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx2
import psutil


@dataclass
class Seen:
    """What the clients of one load met; times in seconds."""

    first: list[float] = field(default_factory=list)
    between: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    resident: list[int] = field(default_factory=list)


async def client(http: httpx2.AsyncClient, args: argparse.Namespace, number: int, end: float, seen: Seen):
    turn = 0
    while time.monotonic() < end:
        turn += 1
        prompt = f"Stream {number}, turn {turn}: once upon a time there was"
        body = {"model": args.model, "prompt": prompt, "max_tokens": args.tokens, "stream": True}
        try:
            seen.outcomes[await one_stream(http, args.url, body, seen)] += 1
        except httpx2.HTTPError as error:
            seen.outcomes[type(error).__name__] += 1
            await asyncio.sleep(0.5)


async def one_stream(http: httpx2.AsyncClient, url: str, body: dict, seen: Seen) -> str:
    began, last = time.perf_counter(), None
    async with http.stream("POST", f"{url}/v1/completions", json=body) as response:
        if response.status_code != 200:
            await response.aread()
            await asyncio.sleep(float(response.headers.get("retry-after", 1)))
            return str(response.status_code)
        async for line in response.aiter_lines():
            if line == "data: [DONE]":
                return "200"
            if not line.startswith("data: "):
                continue
            event = json.loads(line[6:])
            if "error" in event:
                return str(event["error"].get("code"))
            now = time.perf_counter()
            if last is None:
                seen.first.append(now - began)
            else:
                seen.between.append(now - last)
            last = now
    return "cut"


async def watch(pid: int | None, end: float, seen: Seen) -> None:
    while pid is not None and time.monotonic() < end:
        whole = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        seen.resident.append(sum(one.memory_info().rss for one in whole))
        await asyncio.sleep(1)


async def load(args: argparse.Namespace, streams: int) -> dict:
    seen, end = Seen(), time.monotonic() + args.seconds
    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(timeout=600, limits=limits) as http:
        clients = [client(http, args, number, end, seen) for number in range(streams)]
        await asyncio.gather(watch(args.pid, end, seen), *clients)
    errors = {name: count for name, count in seen.outcomes.items() if name not in ("200", "429")}
    return {
        "streams": streams,
        "outcomes": dict(seen.outcomes),
        "errors": errors,
        "first_token": percentiles(seen.first),
        "between_tokens": percentiles(seen.between),
        "resident_mib": [round(bytes_ / 2**20) for bytes_ in seen.resident],
    }


def percentiles(times: list[float]) -> dict[str, float]:
    if len(times) < 2:
        return {}
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    return {f"p{at}": round(cuts[at - 1], 4) for at in (50, 95, 99)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--model", required=True)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 8, 32, 200])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--pid", type=int, help="of the server, whose memory is looked at every second")
    args = parser.parse_args()
    for streams in args.streams:
        print(json.dumps(asyncio.run(load(args, streams))), flush=True)


if __name__ == "__main__":
    main()
