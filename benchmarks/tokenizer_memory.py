"""Peak memory of training a tokenizer on Chinese without a space, a line break or punctuation.

    python benchmarks/tokenizer_memory.py MODEL MEGABYTES [OVERRIDE ...]

makes a corpus of that size (words of one to four characters from a lexicon of 60,000, by Zipf's law, so that
hardly a run of 32 characters comes twice), trains as `hanlin tokenizer` does, and prints the peak resident
memory of the process. For the cost per symbol of `hanlin/tokenizer/memory.py`, set memory_gb so high that
nothing is left out: `max_characters=5000000 memory_gb=100`.
"""

import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hanlin.base.config import settings_from_overrides
from hanlin.base.manifest import write_manifest
from hanlin.base.records import Document
from hanlin.corpus.shards import ShardWriter
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.train import build_tokenizer

DOCUMENT = 1_000_000
BYTES_PER_HAN = 3


def chinese(characters: int) -> Iterator[str]:
    draw = np.random.default_rng(0)
    rank = np.arange(1, 6001)
    han = [chr(0x4E00 + n) for n in range(6000)]
    lengths = draw.choice([1, 2, 3, 4], size=60_000, p=[0.05, 0.7, 0.17, 0.08])
    lexicon = [
        "".join(han[n] for n in draw.choice(6000, size=length, p=(1 / rank) / (1 / rank).sum()))
        for length in lengths
    ]
    weights = 1 / (np.arange(60_000) + 3.7)
    for start in range(0, characters, DOCUMENT):
        words = draw.choice(60_000, size=DOCUMENT, p=weights / weights.sum())
        yield "".join(lexicon[n] for n in words)[: min(DOCUMENT, characters - start)]


def main() -> None:
    model, megabytes, *overrides = sys.argv[1:]
    config = settings_from_overrides(TokenizerConfig, [f"model={model}", *overrides])
    with tempfile.TemporaryDirectory() as place:
        corpus = Path(place) / "corpus"
        corpus.mkdir()
        writer = ShardWriter(corpus, "train", shard_characters=20_000_000)
        for number, text in enumerate(chinese(int(megabytes) * 1_000_000 // BYTES_PER_HAN)):
            writer.write(Document(id=f"{number}", text=text, source="made"))
        writer.close()
        write_manifest(corpus, "corpus", {})
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        begin = time.perf_counter()
        training = build_tokenizer(config, corpus, Path(place) / "made").report["training"]
        seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{model} {overrides}: {training}, {seconds:.0f} s, peak {peak:.2f} GB ({before:.2f} GB before)")


if __name__ == "__main__":
    main()
