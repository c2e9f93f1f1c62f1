import math

import pytest
import torch

from hanlin.model.attention import attention_weights, fused_attention, reference_attention
from hanlin.model.mask import cached_mask, self_mask

CPU = torch.device("cpu")
PACKED = torch.tensor([[0, 0, 0, 1, 1, 2, 2], [0, 1, 1, 1, 1, 1, 1]])


def causal_mask(documents=None, T=7):
    return self_mask(T, CPU, causal=True, documents_BT=documents)


def open_mask(T=7):
    return self_mask(T, CPU, causal=False)


def heads(H, T, D, seed, B=2):
    return torch.randn(B, H, T, D, generator=torch.Generator().manual_seed(seed))


def test_weights_by_hand():
    q = torch.tensor([[1.0, 0.0], [0.0, 2.0]]).view(1, 1, 2, 2)
    k = torch.tensor([[1.0, 1.0], [3.0, 0.0]]).view(1, 1, 2, 2)
    # Row 1 sees itself alone. Row 2: scores (0*1 + 2*1, 0*3 + 2*0) / sqrt(2) = (sqrt 2, 0).
    first = math.exp(math.sqrt(2)) / (math.exp(math.sqrt(2)) + 1)
    expected = torch.tensor([[1.0, 0.0], [first, 1 - first]])
    torch.testing.assert_close(attention_weights(q, k, causal_mask(T=2))[0, 0], expected)
    v = torch.tensor([[2.0, 0.0], [0.0, 10.0]]).view(1, 1, 2, 2)
    mixed = reference_attention(q, k, v, causal_mask(T=2))[0, 0]
    torch.testing.assert_close(mixed, torch.tensor([[2.0, 0.0], [2 * first, 10 * (1 - first)]]))


@pytest.mark.parametrize("mask", [causal_mask(), open_mask(), causal_mask(PACKED)])
def test_every_row_is_a_distribution_over_what_it_may_see(mask):
    weights = attention_weights(heads(4, 7, 8, 1), heads(2, 7, 8, 2), mask)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4, 7))
    allowed = mask.allowed_BTS.expand(2, 7, 7).unsqueeze(1).expand_as(weights)
    assert (weights[~allowed] == 0).all()
    assert (weights[allowed] > 0).all()


def test_scores_are_divided_by_the_root_of_the_head_size():
    """For independent standard normal values q.k has variance D; what the softmax sees must have variance 1."""
    D = 64
    weights = attention_weights(heads(8, 100, D, 1), heads(8, 100, D, 2), open_mask(100))
    scores = weights.log()  # the scores but for a constant in each row
    assert (scores - scores.mean(-1, keepdim=True)).var().item() == pytest.approx(1.0, abs=0.05)


def test_grouped_heads_share_keys_in_order():
    q, k = heads(4, 5, 8, 1), heads(2, 5, 8, 2)
    weights = attention_weights(q, k, causal_mask(T=5))
    for head, group in enumerate((0, 0, 1, 1)):
        alone = attention_weights(q[:, head : head + 1], k[:, group : group + 1], causal_mask(T=5))
        torch.testing.assert_close(weights[:, head : head + 1], alone)


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize(
    ("mask", "T", "S"),
    [
        (causal_mask(), 7, 7),
        (causal_mask(PACKED), 7, 7),
        (open_mask(), 7, 7),
        (cached_mask([0, 0], 7, CPU), 7, 7),
        (cached_mask([6, 6], 1, CPU), 1, 7),
        (cached_mask([6, 2], 1, CPU), 1, 7),
        (cached_mask([4, 4], 3, CPU), 3, 7),
        (cached_mask([4, 0], 3, CPU), 3, 7),
    ],
)
def test_fused_attention_equals_the_formula(mask, T, S, kv_heads):
    q, k, v = heads(4, T, 8, 1), heads(kv_heads, S, 8, 2), heads(kv_heads, S, 8, 3)
    torch.testing.assert_close(
        fused_attention(q, k, v, mask), reference_attention(q, k, v, mask), atol=1e-5, rtol=0
    )


def test_both_paths_have_the_same_gradients():
    gradients = []
    for attend in (fused_attention, reference_attention):
        q, k, v = (heads(h, 7, 8, h).requires_grad_() for h in (4, 2, 2))
        attend(q, k, v, causal_mask(PACKED)).square().sum().backward()
        gradients.append((q.grad, k.grad, v.grad))
    for fused, plain in zip(*gradients, strict=True):
        torch.testing.assert_close(fused, plain, atol=1e-5, rtol=1e-5)


def test_the_document_mask_by_hand():
    expected = [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]]
    mask = causal_mask(torch.tensor([[3, 3, 9, 9]]), T=4)
    assert mask.allowed_BTS.int().tolist() == [expected]


def test_the_cached_mask_by_hand():
    mask = cached_mask([2, 0], 2, CPU)
    assert mask.allowed_BTS.int().tolist() == [
        [[1, 1, 1, 0], [1, 1, 1, 1]],
        [[1, 0, 0, 0], [1, 1, 0, 0]],
    ]


def test_dropout_drops_weights_and_keeps_their_mean():
    q, k, v = heads(2, 20, 8, 1), heads(2, 20, 8, 2), torch.ones(2, 2, 20, 8)
    torch.manual_seed(0)
    for attend in (fused_attention, reference_attention):
        mixed = attend(q, k, v, open_mask(20), dropout=0.5)
        assert mixed.std() > 0.05  # without dropout every row of weights would give exactly 1
        assert mixed.mean().item() == pytest.approx(1.0, abs=0.1)
