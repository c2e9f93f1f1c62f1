"""llama.cpp as a worker (see workers.py): its C interface through llama-cpp-python, which is all that it imports.

Every task takes `flash` (flash attention: true or false) and returns a rate in tokens/s. The next token is the one of
the greatest logit.

    python llamacpp_worker.py FILE THREADS
"""

import ctypes
import math
import sys
import time
from collections.abc import Sequence

import llama_cpp
import numpy as np
from workers import answer

BATCH = 512


class Context:
    """One context for up to `rows` texts."""

    def __init__(self, model: int, threads: int, window: int, rows: int, flash: bool) -> None:
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx, settings.n_seq_max = window * rows, rows
        settings.n_batch = settings.n_ubatch = BATCH
        settings.n_threads = settings.n_threads_batch = threads
        settings.flash_attn_type = int(flash)
        self.pointer = llama_cpp.llama_init_from_model(model, settings)
        self.batch = llama_cpp.llama_batch_init(BATCH, 0, 1)
        self.vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))

    def clear(self) -> None:
        """Forget all texts."""
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.pointer), True)

    def read(self, tokens: Sequence[tuple[int, int, int]], asked: Sequence[int]) -> np.ndarray:
        """Tokens as (id, place, text); the logits after those at the indices `asked`: (len(asked), vocabulary)."""
        wanted, batch = set(asked), self.batch
        batch.n_tokens = len(tokens)
        for i, (id, place, text) in enumerate(tokens):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0] = id, place, 1, text
            batch.logits[i] = i in wanted
        assert llama_cpp.llama_decode(self.pointer, batch) == 0
        found = llama_cpp.llama_get_logits(self.pointer)
        return np.ctypeslib.as_array(
            ctypes.cast(found, ctypes.POINTER(ctypes.c_float)), (len(asked), self.vocabulary)
        )

    def read_prompt(self, ids: Sequence[int], text: int) -> int:
        """The token after a whole text."""
        for start in range(0, len(ids), BATCH):
            part = [(id, start + i, text) for i, id in enumerate(ids[start : start + BATCH])]
            logits = self.read(part, [len(part) - 1])
        return int(logits[0].argmax())

    def free(self) -> None:
        """Give the memory back."""
        llama_cpp.llama_batch_free(self.batch)
        llama_cpp.llama_free(self.pointer)


def main() -> None:
    path, threads = sys.argv[1], int(sys.argv[2])
    silent = llama_cpp.llama_log_callback(lambda *_: None)
    llama_cpp.llama_log_set(silent, None)
    llama_cpp.llama_backend_init()
    model = llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())

    def decode(prompts: list[list[int]], tokens: int, flash: bool) -> float:
        """All prompts side by side, after they are read."""
        window = max(map(len, prompts)) + tokens + 1
        context = Context(model, threads, window, len(prompts), flash)
        last = [context.read_prompt(ids, text) for text, ids in enumerate(prompts)]
        start = time.perf_counter()
        for step in range(tokens):
            batch = [(id, len(prompts[text]) + step, text) for text, id in enumerate(last)]
            last = context.read(batch, range(len(batch))).argmax(axis=1).tolist()
        seconds = time.perf_counter() - start
        context.free()
        return tokens * len(prompts) / seconds

    def prefill(ids: list[int], flash: bool) -> float:
        context = Context(model, threads, len(ids) + 1, 1, flash)
        start = time.perf_counter()
        context.read_prompt(ids, 0)
        seconds = time.perf_counter() - start
        context.free()
        return len(ids) / seconds

    def score(windows: list[list[int]], flash: bool) -> list[float]:
        """The log-probability of every token but the first of each window, summed by window."""
        context = Context(model, threads, max(map(len, windows)), 1, flash)
        sums = []
        for ids in windows:
            context.clear()
            total = 0.0
            for start in range(0, len(ids) - 1, BATCH):
                part = ids[start : min(start + BATCH, len(ids) - 1)]
                logits = context.read([(id, start + i, 0) for i, id in enumerate(part)], range(len(part)))
                logits = logits.astype(np.float64)
                targets = ids[start + 1 : start + 1 + len(part)]
                greatest = logits.max(axis=1, keepdims=True)
                total += float(
                    (logits[range(len(part)), targets] - greatest[:, 0]).sum()
                    - np.log(np.exp(logits - greatest).sum(axis=1)).sum()
                )
            sums.append(total)
        context.free()
        assert all(map(math.isfinite, sums))
        return sums

    answer({"decode": decode, "prefill": prefill, "score": score}, lambda: decode([[1, 2, 3, 4]], 1, True))


if __name__ == "__main__":
    main()
