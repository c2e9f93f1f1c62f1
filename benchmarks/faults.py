"""Clients that misbehave, and kill -9 under load with a store: nothing acknowledged may be lost.

python benchmarks/faults.py --folder MODEL --seconds 60
"""

import argparse
import asyncio
import json
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from pathlib import Path

import httpx2

PORT = 18451
URL = f"http://127.0.0.1:{PORT}"


def start(folder: Path, store: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", "from hanlin.cli.main import main; main()", "serve", str(folder)]
    process = subprocess.Popen(
        [*command, f"port={PORT}", f"store={store}", "access_log=false"], stderr=subprocess.DEVNULL
    )
    while process.poll() is None:
        try:
            httpx2.get(f"{URL}/health/ready")
            return process
        except httpx2.TransportError:
            time.sleep(0.1)
    raise SystemExit(f"the server ended with {process.returncode}")


def raw(content: bytes, linger: float) -> None:
    """Send bytes and go away without reading."""
    with socket.create_connection(("127.0.0.1", PORT)) as connection:
        connection.sendall(content)
        time.sleep(linger)


async def misbehave(model: str, end: float, seen: Counter[str]) -> None:
    body = {"model": model, "prompt": "once", "max_tokens": 500, "stream": True}
    async with httpx2.AsyncClient(timeout=60) as http:
        while time.monotonic() < end:
            kind = random.choice(("vanish", "slow", "garbage", "large"))
            try:
                if kind == "garbage":
                    await asyncio.to_thread(raw, random.randbytes(2000), 0.1)
                elif kind == "large":
                    got = await http.post(f"{URL}/v1/completions", content=b"x" * 10_000_000)
                    kind += f" {got.status_code}"
                else:
                    async with http.stream("POST", f"{URL}/v1/completions", json=body) as got:
                        async for _ in got.aiter_lines():
                            await asyncio.sleep(0.3 if kind == "slow" else 0)
                            if kind == "vanish" or random.random() < 0.1:
                                break
                    kind += f" {got.status_code}"
            except (httpx2.HTTPError, OSError) as error:
                kind += f" {type(error).__name__}"
                await asyncio.sleep(0.2)
            seen[kind] += 1


async def opine(end: float, kept: list[str], seen: Counter[str]) -> None:
    """Begin conversations, and again until it is acknowledged."""
    async with httpx2.AsyncClient(timeout=10) as http:
        while time.monotonic() < end:
            title = uuid.uuid4().hex
            while True:
                try:
                    got = await http.post(f"{URL}/v1/conversations", json={"title": title})
                    if got.is_success:
                        kept.append(got.json()["id"])
                        break
                    seen[f"kept {got.status_code}"] += 1
                except httpx2.HTTPError:
                    seen["kept again"] += 1
                await asyncio.sleep(0.2)


async def run(args: argparse.Namespace, store: Path) -> dict:
    process = start(args.folder, store)
    name = httpx2.get(f"{URL}/v1/models").json()["data"][0]["id"]
    seen, kept, end = Counter[str](), list[str](), time.monotonic() + args.seconds
    clients = [misbehave(name, end, seen) for _ in range(args.clients)]
    tasks = [asyncio.create_task(one) for one in (*clients, opine(end, kept, seen))]
    kills = 0
    while time.monotonic() < end - 20:
        await asyncio.sleep(15)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        process = await asyncio.to_thread(start, args.folder, store)
    await asyncio.gather(*tasks)
    lost = [id for id in kept if httpx2.get(f"{URL}/v1/conversations/{id}").status_code != 200]
    asked = {"model": name, "prompt": "once", "max_tokens": 4}
    well = httpx2.post(f"{URL}/v1/completions", json=asked, timeout=60).status_code
    process.send_signal(signal.SIGTERM)
    return {
        "kills": kills,
        "acknowledged": len(kept),
        "lost": len(lost),
        "after": well,
        "exit": process.wait(60),
        **seen,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=12)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as store:
        print(json.dumps(asyncio.run(run(args, Path(store))), indent=1))


if __name__ == "__main__":
    main()
