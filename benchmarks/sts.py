"""How well cosines of sentence vectors agree with people: Spearman and Pearson on sentence pairs.

    python benchmarks/sts.py MODEL PAIRS.jsonl

Each record of PAIRS has sentence1, sentence2 and score (the STS Benchmark, Cer et al. 2017). Correlations are times 100,
with the 95 % interval of the bootstrap over pairs.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

from hanlin.evaluate.figures import figures
from hanlin.evaluate.numbers import number_measures
from hanlin.generate.embedding import load_encoder


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    encoder = load_encoder(sys.argv[1], "cpu")
    pairs = [json.loads(line) for line in Path(sys.argv[2]).read_text("utf-8").splitlines()]
    scores_N = np.array([pair["score"] for pair in pairs])
    start = time.perf_counter()
    embedded = encoder.embed([pair[side] for side in ("sentence1", "sentence2") for pair in pairs])
    seconds = time.perf_counter() - start
    unit = embedded.vectors_NC / np.linalg.norm(embedded.vectors_NC, axis=1, keepdims=True)
    first_NC, second_NC = np.split(unit, 2)
    cosines_N = (first_NC * second_NC).sum(1)
    print(f"{encoder.name}, {encoder.settings}")
    print(f"{len(pairs)} pairs, {len(embedded.cut)} texts cut, {2 * len(pairs) / seconds:.0f} texts a second")
    for figure in figures(number_measures(scores_N.tolist(), cosines_N.tolist())[:2]):
        print(
            f"{figure.name:<9} {100 * figure.value:.2f} [{100 * (figure.low or 0):.2f}, {100 * (figure.high or 0):.2f}]"
        )


if __name__ == "__main__":
    main()
