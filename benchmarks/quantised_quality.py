"""What quantisation costs: bits per byte of a text, for each format, here and in llama.cpp on the same file.

The reference of a file is the same file dequantised, in float32 throughout, in PyTorch: what differs is that the
kernel and llama.cpp round activations to int8. Then what int8 and int4 weights lose of a model in float32, which here
is the shipped file dequantised.

    python benchmarks/quantised_quality.py --llamacpp-python PATH/TO/python [--text FILE]
"""

import argparse
import math
from pathlib import Path
from pydoc_data.topics import topics
from tempfile import TemporaryDirectory
from typing import Any

from workers import Worker

from hanlin.checkpoint.known import locate
from hanlin.stages.convert import run_convert

FORMATS: tuple[Any, ...] = ("Q4_0", "Q8_0")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--llamacpp-python", help="a Python that has llama-cpp-python")
    parser.add_argument("--text", type=Path, help="UTF-8; default: the help texts that Python ships")
    parser.add_argument("--bytes", type=int, default=40_000, help="how much of it is read")
    parser.add_argument(
        "--window", type=int, default=512, help="tokens that are read at a time, each time anew"
    )
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    text = asked.text.read_text("utf-8") if asked.text else "\n".join(topics.values())
    text = text.encode()[: asked.bytes].decode(errors="ignore")
    shipped = locate(asked.model)
    with TemporaryDirectory() as folder:
        place = Path(folder)
        for format in ("shipped", *FORMATS):
            path = shipped if format == "shipped" else place / f"{format}.gguf"
            if format != "shipped":
                run_convert(shipped, path, None, format)
            plain = bits(text, path, asked, "--engine", "torch", "--weights", "float32")
            ours = bits(text, path, asked)
            print(f"{format}: {path.name}, bits per byte of {len(text.encode()):,} bytes")
            print(f"  float32, PyTorch       {plain:.5f}")
            print(f"  kernel                 {ours:.5f}  {percent(ours, plain)} of float32", end="")
            if asked.llamacpp_python:
                peer = bits(text, path, asked, python=asked.llamacpp_python)
                print(f", {percent(ours, peer)} of llama.cpp")
                print(f"  llama.cpp              {peer:.5f}  {percent(peer, plain)} of float32", end="")
            print(flush=True)
        run_convert(shipped, place / "folder", None, None)
        plain = bits(text, place / "folder", asked)
        print(f"a folder in float32: {plain:.5f} bits per byte")
        for weights in ("int8", "int4"):
            found = bits(text, place / "folder", asked, "--weights", weights)
            print(f"  weights {weights}           {found:.5f}  {percent(found, plain)}", flush=True)


def bits(text: str, path: Path, asked: argparse.Namespace, *options: str, python: str | None = None) -> float:
    """Bits per byte of a text that is read in windows; the first token of each has no condition and is not counted."""
    ours = Worker("hanlin", "hanlin_worker.py", path, asked.threads, *options)
    ids = ours.ask("encode", text=text)
    windows = [ids[start : start + asked.window] for start in range(0, len(ids) - 1, asked.window)]
    windows = [ids for ids in windows if len(ids) > 1]
    if python is None:
        sums = ours.ask("score", windows=windows)
    else:
        peer = Worker("llama.cpp", "llamacpp_worker.py", path, asked.threads, python=python)
        sums = peer.ask("score", windows=windows, flash=False)
        peer.stop()
    ours.stop()
    return -sum(sums) / math.log(2) / len(text.encode())


def percent(found: float, reference: float) -> str:
    return f"{100 * (found / reference - 1):+.3f} %"


if __name__ == "__main__":
    main()
