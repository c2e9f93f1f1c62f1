"""What the server around the engine costs: tokens/s of streaming clients of `hanlin serve` beside the engine alone.

The same model, prompts and numbers of tokens in turn, one stream and eight; from sending the requests to the last
token, reading the prompts included. The clients run on the same machine, and are part of what is measured.

    python benchmarks/server_overhead.py
"""

import argparse
import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from pydoc_data.topics import topics

from workers import Worker, print_ratio

from hanlin.checkpoint.known import locate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=128)
    asked = parser.parse_args()
    path = locate(asked.model)
    text = " ".join(" ".join(topics.values()).split())
    with Server(path, asked.threads) as server:
        bare = Worker("engine", "hanlin_worker.py", path, asked.threads)
        for streams in (1, 8):
            served, alone = [], []
            for number in range(asked.rounds + 1):
                first = 4000 * number + 400 * streams
                prompts = [text[first + 400 * k :][:80] for k in range(streams)]
                served.append(server.rate(prompts, asked.tokens))
                ids = [bare.ask("encode", text=prompt) for prompt in prompts]
                alone.append(bare.ask("generate", prompts=ids, tokens=asked.tokens))
            print(f"{streams} streams, tokens/s")
            print_ratio("server / engine", served[1:], alone[1:])
            kept = statistics.median(a / b for a, b in zip(served[1:], alone[1:], strict=True))
            print(f"  the server costs {100 * (1 - kept):.1f} %", flush=True)
        bare.stop()


class Server:
    """`hanlin serve` in a process of its own, on a free port."""

    def __init__(self, path: Path, threads: int) -> None:
        command = [sys.executable, "-m", "hanlin", "serve", str(path), "port=0", "access_log=false"]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "LC_ALL": "C.UTF-8"}
        self._model = path.name
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if found := re.search(r"http://[^:]+:(\d+)", line):
                self._port = int(found[1])
                break
        else:
            raise SystemExit("the server did not start")

    def __enter__(self) -> "Server":
        while True:
            try:
                self._complete("One", 1)
                return self
            except ConnectionError:
                time.sleep(0.1)

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    def rate(self, prompts: list[str], tokens: int) -> float:
        """Tokens/s of all prompts side by side, each streamed to a client of its own."""
        start = time.perf_counter()
        with ThreadPoolExecutor(len(prompts)) as pool:
            made = sum(pool.map(lambda prompt: self._complete(prompt, tokens), prompts))
        return made / (time.perf_counter() - start)

    def _complete(self, prompt: str, tokens: int) -> int:
        """How many tokens came."""
        body = {
            "model": self._model,
            "prompt": prompt,
            "max_tokens": tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        connection = http.client.HTTPConnection("127.0.0.1", self._port)
        connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
        reply = connection.getresponse()
        assert reply.status == 200, reply.read()
        made = 0
        for line in reply:
            if line.startswith(b"data: {"):
                usage = json.loads(line[6:]).get("usage")
                made = usage["completion_tokens"] if usage else made
        connection.close()
        return made


if __name__ == "__main__":
    main()
