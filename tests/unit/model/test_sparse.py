"""Sparse attention equals the dense masked result, costs less, and reads no more than it must."""

from dataclasses import replace
from itertools import groupby

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from hanlin.model import attention, sparse
from hanlin.model.attention import fused_attention, reference_attention
from hanlin.model.bias import LinearBias, RelativeBias
from hanlin.model.cache import KeyValueCache
from hanlin.model.config import CoreConfig
from hanlin.model.mask import Mask, Tokens, cached_mask, row, self_mask

CPU = torch.device("cpu")
PATTERNS = {
    "sliding": {"attention_window": 5},
    "block": {"attention_window": 6, "global_tokens": 2},
    "global": {"attention_window": 4, "global_tokens": 3},
}
every_pattern = pytest.mark.parametrize("pattern", ["full", *PATTERNS])


def narrowed(mask, pattern, **changed):
    settings = {**PATTERNS.get(pattern, {}), **changed}
    return mask.narrowed(CoreConfig.model_validate({"attention": [pattern], **settings}), pattern)


def heads(H, T, D=8, seed=0, B=2):
    return torch.randn(B, H, T, D, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def packed(lengths, rows=2):
    """Documents of these lengths and the positions in them; the second row has them in the other order."""
    documents, positions = [], []
    for order in (lengths, lengths[::-1])[:rows]:
        documents.append(torch.cat([torch.full((n,), number) for number, n in enumerate(order)]))
        positions.append(torch.cat([torch.arange(n) for n in order]))
    return {"documents_BT": torch.stack(documents), "positions_BT": torch.stack(positions)}


@pytest.fixture
def small_blocks(monkeypatch):
    """So that a short text is cut into many parts."""
    for module in (sparse, attention):
        monkeypatch.setattr(module, "KEYS", 4)
    monkeypatch.setattr(sparse, "QUERIES", 6)
    monkeypatch.setattr(sparse, "LONG", 1)
    monkeypatch.setattr(sparse, "WORTH", 1.0)


@st.composite
def masks(draw):
    """Any rule, over places, positions and documents that need not even make sense."""
    B, T, pattern = (
        draw(st.integers(1, 2)),
        draw(st.integers(1, 20)),
        draw(st.sampled_from(["full", *PATTERNS])),
    )
    numbers = st.lists(st.integers(0, 9), min_size=T, max_size=T)

    def rows(values):
        return torch.tensor([draw(values) for _ in range(B)])

    if draw(st.booleans()):
        mask = cached_mask(draw(st.lists(st.integers(0, 9), min_size=B, max_size=B)), T, CPU)
    else:
        mask = self_mask(
            T,
            CPU,
            causal=draw(st.booleans()),
            positions_BT=rows(numbers) if draw(st.booleans()) else None,
            documents_BT=rows(numbers) - 1 if draw(st.booleans()) else None,
            prefix_B=rows(st.integers(0, T)) if draw(st.booleans()) else None,
        )
    window = draw(st.integers(1, 8))
    return narrowed(mask, pattern, attention_window=window, global_tokens=draw(st.integers(1, window)))


@settings(max_examples=150, deadline=None)
@given(masks(), st.integers(1, 7), st.integers(1, 7))
def test_no_key_that_a_query_may_see_is_left_out(mask, queries, keys):
    seen_NM = sparse.seen_blocks(mask, queries, keys)
    spread = seen_NM.repeat_interleave(queries, 0).repeat_interleave(keys, 1)
    assert spread[: mask.query.count, : mask.key.count][mask.allowed_BTS.any(0)].all()


@settings(max_examples=150, deadline=None)
@given(masks(), st.integers(1, 3))
def test_the_rules_of_documents_alone_are_the_rule(mask, together):
    """Where a row holds each document in one piece; the others are attended to as before."""
    if mask.query.documents_BT is None:
        return
    documents_BT = mask.query.documents_BT.div(together, rounding_mode="floor")
    tokens = replace(mask.query, documents_BT=documents_BT)
    mask = replace(mask, query=tokens, key=tokens, everything=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sparse, "DOCUMENT", 0)
        patch.setattr(sparse, "WORTH", 1.0)
        alone = sparse.documents(mask)
    runs = [[len(list(run)) for _, run in groupby(row)] for row in documents_BT.tolist()]
    whole = all(
        len(row) == len(set(numbers)) for row, numbers in zip(runs, documents_BT.tolist(), strict=True)
    )
    assert (alone is not None) == whole
    if alone is None:
        return
    assert [rule.query.count for rule in alone] == [length for row in runs for length in row]
    allowed_BTS = torch.zeros(*documents_BT.shape, documents_BT.shape[1], dtype=torch.bool)
    found = iter(alone)
    for line, lengths in enumerate(runs):
        start = 0
        for length in lengths:
            within = slice(start, start + length)
            allowed_BTS[line, within, within] = next(found).allowed_BTS[0]
            start += length
    assert torch.equal(allowed_BTS, mask.allowed_BTS.expand_as(allowed_BTS))


@settings(max_examples=60, deadline=None)
@given(masks(), st.integers(1, 3))
def test_parts_of_a_rule_are_the_rule(mask, stride):
    queries, keys = slice(mask.query.count // 3, mask.query.count), torch.arange(0, mask.key.count, stride)
    if not mask.everything:
        part = mask.at(queries, keys).allowed_BTS
        assert torch.equal(part, mask.allowed_BTS[:, queries][:, :, keys])


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("rows", ["whole", "packed", "documents", "padded", "prefix"])
@pytest.mark.parametrize("extra", ["plain", "alibi", "relative", "softcap"])
@every_pattern
def test_it_equals_the_formula_and_so_do_its_gradients(pattern, causal, rows, extra, monkeypatch):
    monkeypatch.setattr(sparse, "DOCUMENT", 0 if rows == "documents" else 10**6)
    given = {
        "documents": packed([13, 1, 20, 7]),
        "whole": {},
        "packed": packed([13, 1, 20, 7]),
        "padded": {"documents_BT": torch.tensor([[-1] * 9 + [0] * 32, [0] * 41])},
        "prefix": {"prefix_B": torch.tensor([3, 17])},
    }[rows]
    relative = RelativeBias(CoreConfig(heads=4, position="relative"), causal)
    torch.nn.init.normal_(relative.bucket.weight)
    bias = {"alibi": LinearBias(4), "relative": relative}.get(extra)
    cap = 0.5 if extra == "softcap" else None
    found = []
    for attend in (fused_attention, reference_attention):
        mask = narrowed(self_mask(41, CPU, causal=causal, **given), pattern)
        mask = Mask(**{**vars(mask), "bias": bias})
        q, k, v = heads(4, 41, seed=1), heads(2, 41, seed=2), heads(2, 41, seed=3)
        mixed = attend(q, k, v, mask, 0.7, cap)
        relative.bucket.weight.grad = None
        mixed.square().sum().backward()
        found.append((mixed, q.grad, k.grad, v.grad, relative.bucket.weight.grad))
        if attend is fused_attention and pattern != "full" and causal and rows != "prefix":
            assert len(mask.parts) == 7
        if attend is fused_attention:
            assert len(mask.documents or ()) == (8 if rows == "documents" else 0)
    for ours, formula in zip(*found, strict=True):
        torch.testing.assert_close(ours, formula, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_long_text_takes_it_and_a_short_one_does_not(pattern):
    wide = {"attention_window": 64, "global_tokens": 8}
    long = narrowed(self_mask(1000, CPU, causal=True), pattern, **wide)
    q, k, v = heads(2, 1000, B=1), heads(1, 1000, seed=1, B=1), heads(1, 1000, seed=2, B=1)
    ours = fused_attention(q, k, v, long)
    assert len(long.parts) == 8
    torch.testing.assert_close(ours, reference_attention(q, k, v, long), atol=1e-5, rtol=0)
    assert narrowed(self_mask(256, CPU, causal=True), pattern, **wide).parts is None
    wide = {"attention_window": 900, "global_tokens": 8}
    assert narrowed(self_mask(1000, CPU, causal=False), pattern, **wide).parts is None  # nearly all is seen


def test_a_plainly_causal_rule_stays_whole():
    """The kernel applies it itself and skips half of the work."""
    assert self_mask(2000, CPU, causal=True).parts is None
    assert self_mask(2000, CPU, causal=False).parts is None


def test_packed_documents_alone_are_sparse():
    mask = self_mask(1024, CPU, causal=True, **packed([100] * 10 + [24]))
    assert (
        sum((part.queries.stop - part.queries.start) * len(part.blocks) * sparse.KEYS for part in mask.parts)
        < 1024 * 400
    )


def test_packed_documents_are_attended_to_one_by_one():
    mask = self_mask(1024, CPU, causal=True, **packed([100] * 10 + [24]))
    assert [rule.query.count for rule in mask.documents] == [100] * 10 + [24] * 2 + [100] * 10
    assert all(rule.fused(torch.float32) is None for rule in mask.documents)
    assert self_mask(128, CPU, causal=True, **packed([4] * 32)).documents is None  # too many calls
    assert self_mask(1024, CPU, causal=True, **packed([1000, 24])).documents is None  # saves too little


def test_documents_one_by_one_hold_nothing_larger_than_the_row():
    """Not even in the backward pass: a slice of a row has a gradient as large as the row."""
    T = 2048
    q, k, v = (heads(1, T, D=16, seed=seed, B=1) for seed in range(3))
    with Largest() as seen:
        mask = self_mask(T, CPU, causal=True, **packed([64] * 32, rows=1))
        fused_attention(q, k, v, mask).sum().backward()
    assert seen.values == T * 16
    assert seen.made < 60 * T * 16  # 32 gradients of slices of q, k and v would be 96 of them


def pairs(mask):
    """How many scores are computed."""
    return sum(part.mask.query.count * part.mask.key.count for part in mask.parts)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_work_grows_as_the_length_and_not_as_its_square(pattern, causal):
    wide = {"attention_window": 128, "global_tokens": 4}
    short, long = (narrowed(self_mask(T, CPU, causal=causal), pattern, **wide) for T in (2048, 4096))
    # Beside its own surroundings, block shows the end of every block: that part is square, but small.
    square = (0.5 if causal else 1.0) * sparse.KEYS / 128 if pattern == "block" else 0.0
    assert pairs(long) - square * 4096**2 < 2.3 * (pairs(short) - square * 2048**2)  # 4 if dense
    assert pairs(long) < 4096**2 * (square + 0.15)


class Largest(TorchDispatchMode):
    """The most values of any tensor that is made, and those of all together."""

    values = made = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(tensor, torch.Tensor):
                self.values = max(self.values, tensor.numel())
                self.made += 0 if tensor._is_view() else tensor.numel()
        return out


def test_nothing_as_large_as_the_square_of_the_length_is_held():
    T = 2048
    q, k, v = (heads(1, T, D=16, seed=seed, B=1) for seed in range(3))
    with Largest() as sparse_pass:
        mask = narrowed(self_mask(T, CPU, causal=True), "sliding", attention_window=64)
        fused_attention(q, k, v, mask).sum().backward()
    assert sparse_pass.values == T * 16  # those of q itself
    with Largest() as dense_pass:
        reference_attention(q, k, v, mask)
    assert dense_pass.values == T * T


def test_the_patterns_count_from_the_start_of_each_document():
    """By hand: documents of 5 and 4 tokens; blocks of 3 that end in one shared token; one global token."""
    given = {name: value[:1] for name, value in packed([5, 4]).items()}
    block = narrowed(self_mask(9, CPU, causal=True, **given), "block", attention_window=3, global_tokens=1)
    assert block.allowed_BTS[0, 5:].int().tolist() == [
        [0, 0, 0, 0, 0, 1, 0, 0, 0],
        [0, 0, 0, 0, 0, 1, 1, 0, 0],
        [0, 0, 0, 0, 0, 1, 1, 1, 0],
        [0, 0, 0, 0, 0, 0, 0, 1, 1],
    ]
    first = narrowed(self_mask(9, CPU, causal=False, **given), "global", attention_window=2, global_tokens=1)
    assert first.allowed_BTS[0, 5:].int().tolist() == [
        [0, 0, 0, 0, 0, 1, 1, 1, 1],
        [0, 0, 0, 0, 0, 1, 1, 1, 0],
        [0, 0, 0, 0, 0, 1, 1, 1, 1],
        [0, 0, 0, 0, 0, 1, 0, 1, 1],
    ]


@pytest.mark.parametrize("step", [1, 3])
def test_a_sliding_layer_reads_only_the_last_window_of_the_cache(step, model, tokens):
    """What lies before is made NaN, which would show in every logit that touched it."""
    decoder, x = model(attention=["sliding"], attention_window=4), tokens(2, 20)
    cache = KeyValueCache(decoder.config, rows=2, capacity=20)
    with torch.no_grad():
        decoder(x[:, :17], cache=cache)
        cache.keys_LBGSD[:, :, :, :14] = torch.nan
        cache.values_LBGSD[:, :, :, :14] = torch.nan
        found = decoder(x[:, 17 : 17 + step], cache=cache)
        torch.testing.assert_close(found, decoder(x)[:, 17 : 17 + step], atol=1e-5, rtol=0)
        cache.lengths_B[:] = 17
        cache.values_LBGSD[:, :, :, 14] = torch.nan  # the first that the next token does see
        assert decoder(x[:, 17:18], cache=cache).isnan().all()


def test_one_new_token_needs_no_mask_at_all():
    """So that the kernel runs without one."""
    sliding = narrowed(cached_mask([9, 9], 1, CPU), "sliding")
    assert sliding.key.places_BT.tolist() == [[5, 6, 7, 8, 9]]
    assert sliding.fused(torch.float32) is None
    unequal = narrowed(cached_mask([9, 2], 1, CPU), "sliding")
    assert unequal.allowed_BTS.int().tolist() == [[[0] * 5 + [1] * 5], [[1] * 3 + [0] * 7]]


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("position", ["rotary", "alibi"])
def test_a_whole_model_is_the_same_by_either_path(pattern, position, model, tokens):
    decoder = model(attention=[pattern, "full"], position=position, window=600, **PATTERNS[pattern])
    given, x = packed([250, 40, 250]), tokens(2, 540)
    whole = {name: value.clone() for name, value in given.items()}
    with torch.no_grad():
        ours = decoder(x, **whole)
        for block in decoder.blocks:
            block.attention.attend = reference_attention
        torch.testing.assert_close(ours, decoder(x, **whole), atol=2e-5, rtol=0)
    mask = self_mask(540, CPU, causal=True, **given)
    assert mask.parts is not None
    assert narrowed(mask, pattern).parts is not None


def test_tokens_are_those_of_the_row():
    tokens = row(3, 6, CPU)
    assert (tokens.places_BT.tolist(), tokens.count) == ([[3, 4, 5]], 3)
    some = Tokens(tokens.places_BT, tokens.positions_BT, torch.tensor([[7, 8, 9]])).at(slice(1, 3))
    assert (some.places_BT.tolist(), some.documents_BT.tolist()) == ([[4, 5]], [[8, 9]])
