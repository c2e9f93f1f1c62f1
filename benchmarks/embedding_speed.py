"""Texts a second of sentence vectors beside `transformers` with mean pooling, on one model folder and one thread.

    python benchmarks/embedding_speed.py MODEL TEXTS.jsonl [FIELD]

The peer is what its model's card shows: the tokenizer pads a batch of 32 texts as they come, the model runs under
`inference_mode`, hidden states are averaged over real tokens and divided by their length. Also measured: the peer
on texts that were sorted by length for it.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from side_by_side import compare
from transformers import AutoModel, AutoTokenizer

from hanlin.checkpoint.known import locate
from hanlin.generate.embedding import load_encoder

BATCH = 32


def main() -> None:
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    torch.set_num_threads(1)
    field = sys.argv[3] if len(sys.argv) == 4 else "sentence1"
    texts = [json.loads(line)[field] for line in Path(sys.argv[2]).read_text("utf-8").splitlines()]
    encoder = load_encoder(sys.argv[1], "cpu")
    folder = locate(sys.argv[1])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()

    @torch.inference_mode()
    def peer(texts: list[str]) -> np.ndarray:
        vectors = []
        for start in range(0, len(texts), BATCH):
            batch = tokenizer(
                texts[start : start + BATCH], padding=True, truncation=True,
                max_length=encoder.settings.max_tokens, return_tensors="pt",
            )  # fmt: skip
            hidden = model(**batch).last_hidden_state
            mask = batch["attention_mask"].unsqueeze(-1)
            mean = (hidden * mask).sum(1) / mask.sum(1)
            vectors.append(torch.nn.functional.normalize(mean) if encoder.settings.normalize else mean)
        return torch.cat(vectors).numpy()

    difference = np.abs(encoder.embed(texts).vectors_NC - peer(texts)).max()
    print(f"{len(texts)} texts, {sum(map(len, texts)) / len(texts):.0f} characters on average; "
          f"largest difference {difference:.1e}\n")  # fmt: skip
    assert difference < 1e-5

    def rate(work: Callable[[list[str]], object], texts: list[str]) -> Callable[[], float]:
        def measured() -> float:
            start = time.perf_counter()
            work(texts)
            return len(texts) / (time.perf_counter() - start)

        return measured

    ours = rate(encoder.embed, texts)
    compare("against transformers, texts as they come", "texts/s", ours, rate(peer, texts))
    compare("against transformers, texts sorted for it", "texts/s", ours, rate(peer, sorted(texts, key=len)))


if __name__ == "__main__":
    main()
