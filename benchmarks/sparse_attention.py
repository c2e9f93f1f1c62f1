"""Time of attention over the length of the text: all keys, a sparse pattern as a dense mask, and our sparse path.

One layer, 4 heads of 64 values, one thread. `full` is causal attention over everything by torch's own kernel, which
grows as the square of the length; `dense` is `scaled_dot_product_attention` with the pattern as a (T, T) mask. All
three are run in turn; figures are medians, the ratio is the median of dense / ours over the pairs.

    python benchmarks/sparse_attention.py [greatest length, default 16384]
"""

import statistics
import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from hanlin.model.attention import fused_attention
from hanlin.model.config import CoreConfig
from hanlin.model.mask import Mask, self_mask

LENGTHS = (512, 1024, 2048, 4096, 8192, 16384)
PATTERNS = {
    "sliding, window 256": {"attention": ["sliding"], "attention_window": 256},
    "block, 256 and their last 32": {"attention": ["block"], "attention_window": 256, "global_tokens": 32},
    "global, 256 and the first 16": {"attention": ["global"], "attention_window": 256, "global_tokens": 16},
}
HEADS, SIZE = 4, 64
ROUNDS = 5


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    greatest = int(sys.argv[1]) if len(sys.argv) > 1 else LENGTHS[-1]
    for name, settings in PATTERNS.items():
        config = CoreConfig.model_validate(settings)
        for causal, backward in ((True, False), (True, True), (False, False)):
            print(
                f"{name}, {'causal' if causal else 'both ways'}, forward{' and backward' if backward else ''}"
            )
            print("  length   full ms  dense ms   ours ms  dense/ours min / median / max   full/ours")
            for length in LENGTHS:
                if length <= greatest // (2 if backward else 1):
                    one_length(config, length, causal, backward)


def one_length(config: CoreConfig, length: int, causal: bool, backward: bool) -> None:
    q, k, v = (torch.randn(1, HEADS, length, SIZE, requires_grad=backward) for _ in range(3))

    def rule() -> Mask:
        return self_mask(length, q.device, causal=causal).narrowed(config, config.pattern(0))

    def full() -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal)

    def dense() -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=rule().allowed_BTS.unsqueeze(1))

    def ours() -> Tensor:
        return fused_attention(q, k, v, rule())

    torch.testing.assert_close(ours(), dense(), atol=1e-5, rtol=0)
    rounds = [[milliseconds(run, backward) for run in (full, dense, ours)] for _ in range(ROUNDS)]
    plain, masked, sparse = (statistics.median(column) for column in zip(*rounds, strict=True))
    ratios = sorted(b / c for _, b, c in rounds)
    whole = statistics.median(a / c for a, _, c in rounds)
    print(
        f"  {length:>6} {plain:>9.1f} {masked:>9.1f} {sparse:>9.1f}"
        f"  {ratios[0]:>10.2f} / {statistics.median(ratios):.2f} / {ratios[-1]:.2f} {whole:>17.2f}",
        flush=True,
    )


def milliseconds(run: Callable[[], Tensor], backward: bool) -> float:
    start = time.perf_counter()
    out = run()
    if backward:
        out.sum().backward()
    return 1000 * (time.perf_counter() - start)


if __name__ == "__main__":
    main()
