"""transformers.generate in float32 as a worker (see workers.py).

python transformers_worker.py FOLDER THREADS
"""

import sys
import time

import torch
from transformers import AutoModelForCausalLM
from workers import answer


def main() -> None:
    folder, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    def decode(prompts: list[list[int]], tokens: int) -> float:
        """The tokens after the first, of one prompt."""
        (ids,) = prompts
        few, many = (seconds(ids, count) for count in (1, tokens + 1))
        return tokens / (many - few)

    def seconds(ids: list[int], tokens: int) -> float:
        start = time.perf_counter()
        with torch.inference_mode():
            model.generate(
                torch.tensor([ids]),
                do_sample=False,
                min_new_tokens=tokens,
                max_new_tokens=tokens,
                pad_token_id=0,
            )
        return time.perf_counter() - start

    answer({"decode": decode}, lambda: seconds([1, 2, 3, 4], 1))


if __name__ == "__main__":
    main()
