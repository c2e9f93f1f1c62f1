"""Each filter on rows worked by hand, their composition, and draws against the exact distribution."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hanlin.generate.parameters import SamplingParameters
from hanlin.generate.sampling import (
    SamplingRows,
    apply_repetition_penalty,
    apply_temperature,
    draw,
    filter_logits,
    keep_min_p,
    keep_top_k,
    keep_top_p,
)

logits_rows = st.lists(
    st.floats(-20, 20, width=32) | st.sampled_from([0.0, 1.0, 1.0, -1.0]), min_size=1, max_size=12
)


def column(*values: float) -> Tensor:
    return torch.tensor([[value] for value in values])


def kept(logits_BV: Tensor) -> list[list[int]]:
    return [row.isfinite().nonzero().flatten().tolist() for row in logits_BV]


def test_rows_by_hand() -> None:
    row = torch.tensor([[0.5, 0.2, 0.2, 0.1]]).log()
    assert kept(keep_top_k(row, torch.tensor([[1]]))) == [[0]]
    assert kept(keep_top_k(row, torch.tensor([[2]]))) == [
        [0, 1]
    ]  # of the equal second and third, the lower id
    assert kept(keep_top_k(row, torch.tensor([[0]]))) == [[0, 1, 2, 3]]
    assert kept(keep_top_k(row, torch.tensor([[99]]))) == [[0, 1, 2, 3]]
    assert kept(keep_top_p(row, column(1e-9))) == [[0]]
    assert kept(keep_top_p(row, column(0.49))) == [[0]]
    assert kept(keep_top_p(row, column(0.51))) == [[0, 1]]
    assert kept(keep_top_p(row, column(0.71))) == [[0, 1, 2]]
    assert kept(keep_top_p(row, column(1.0))) == [[0, 1, 2, 3]]
    assert kept(keep_min_p(row, column(0.39))) == [[0, 1, 2]]
    assert kept(keep_min_p(row, column(0.41))) == [[0]]
    assert kept(keep_min_p(row, column(1.0))) == [[0]]
    assert kept(keep_min_p(row, column(0.0))) == [[0, 1, 2, 3]]
    penalised = apply_repetition_penalty(
        torch.tensor([[2.0, -2.0, 2.0]]), torch.tensor([[True, True, False]]), column(2.0)
    )
    assert penalised.tolist() == [[1.0, -4.0, 2.0]]


def test_temperature_and_its_limits() -> None:
    row = torch.tensor([[1.0, 3.0, 3.0, -2.0]])
    assert apply_temperature(row, column(2.0)).tolist() == [[0.5, 1.5, 1.5, -1.0]]
    zero = apply_temperature(row, column(0.0)).softmax(-1)
    assert zero.tolist() == [[0.0, 1.0, 0.0, 0.0]]  # of equals the first
    cold = apply_temperature(torch.tensor([[1.0, 3.0, 2.9]]), column(1e-3)).softmax(-1)
    assert torch.allclose(cold, torch.tensor([[0.0, 1.0, 0.0]]))
    hot = apply_temperature(row, column(1e6)).softmax(-1)
    assert torch.allclose(hot, torch.full((1, 4), 0.25), atol=1e-5)


@given(row=logits_rows, k=st.integers(0, 14), p=st.floats(0.01, 1))
@settings(max_examples=300, deadline=None)
def test_filters_keep_what_their_definitions_say(row: list[float], k: int, p: float) -> None:
    logits = torch.tensor([row])
    order = sorted(range(len(row)), key=lambda id: (-row[id], id))
    assert kept(keep_top_k(logits, torch.tensor([[k]]))) == [sorted(order[: k or len(row)])]

    (nucleus,) = kept(keep_top_p(logits, column(p)))
    probability = logits.double().softmax(-1)[0]
    assert nucleus == sorted(order[: len(nucleus)])
    if p < 1:
        assert float(probability[nucleus].sum()) >= p - 1e-5
        assert float(probability[order[: len(nucleus) - 1]].sum()) < p + 1e-5

    (likely,) = kept(keep_min_p(logits, column(p)))
    ratio = probability / probability.max()
    assert all(float(ratio[id]) >= p - 1e-4 for id in likely)
    assert all(float(ratio[id]) <= p + 1e-4 for id in range(len(row)) if id not in likely)


parameters = st.builds(
    SamplingParameters,
    temperature=st.sampled_from([0.0, 0.7, 1.0, 2.0]),
    top_k=st.sampled_from([0, 1, 3, 50]),
    top_p=st.sampled_from([0.3, 0.9, 1.0]),
    min_p=st.sampled_from([0.0, 0.2]),
    repetition_penalty=st.sampled_from([1.0, 1.3]),
)


@given(rows=st.lists(parameters, min_size=1, max_size=5), seed=st.integers(0, 1000))
@settings(max_examples=150, deadline=None)
def test_rows_of_different_requests_do_not_touch_each_other(
    rows: list[SamplingParameters], seed: int
) -> None:
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(len(rows), 9, generator=random) * 3
    seen = torch.rand(len(rows), 9, generator=random) < 0.3
    together = filter_logits(logits, SamplingRows.of(rows), seen).softmax(-1)
    for n, row in enumerate(rows):
        alone = filter_logits(logits[n : n + 1], SamplingRows.of([row]), seen[n : n + 1]).softmax(-1)
        assert torch.equal(together[n : n + 1], alone)


def test_the_filters_apply_in_the_stated_order() -> None:
    logits = torch.tensor([[2.0, 1.9, 1.0, 0.5, -3.0]])
    seen = torch.tensor([[True, False, False, False, False]])
    row = SamplingParameters(temperature=0.5, top_k=3, top_p=0.9, min_p=0.1, repetition_penalty=2.0)
    expected = apply_repetition_penalty(logits, seen, column(2.0))
    expected = keep_top_k(apply_temperature(expected, column(0.5)), torch.tensor([[3]]))
    expected = keep_min_p(keep_top_p(expected, column(0.9)), column(0.1))
    assert torch.equal(filter_logits(logits, SamplingRows.of([row]), seen), expected)


@pytest.mark.parametrize(
    "row",
    [
        SamplingParameters(),
        SamplingParameters(temperature=1.7, top_k=5),
        SamplingParameters(temperature=0.6, top_p=0.8),
        SamplingParameters(min_p=0.1),
        SamplingParameters(temperature=1.3, top_k=6, top_p=0.95, min_p=0.02),
    ],
)
def test_draws_follow_the_filtered_distribution(row: SamplingParameters) -> None:
    """Pearson's chi-square test at the 0.1 % level, with fixed seeds."""
    n = 40_000
    logits = torch.linspace(2, -2, 8)[torch.tensor([3, 1, 7, 0, 5, 2, 6, 4])].unsqueeze(0)
    filtered = filter_logits(logits, SamplingRows.of([row]))
    expected = filtered.double().softmax(-1)[0] * n
    uniform = torch.rand(n, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    counts = torch.bincount(draw(filtered.expand(n, -1), uniform), minlength=8).double()
    possible = expected > 0
    assert counts[~possible].sum() == 0
    statistic = float(((counts - expected)[possible] ** 2 / expected[possible]).sum())
    freedom = int(possible.sum()) - 1
    bound = (
        freedom * (1 - 2 / (9 * freedom) + 3.09 * math.sqrt(2 / (9 * freedom))) ** 3
    )  # Wilson and Hilferty
    assert statistic < bound


def test_the_ends_of_the_unit_interval_draw_possible_tokens() -> None:
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf, 0.0, -torch.inf]]).expand(3, -1)
    uniform = torch.tensor([[0.0], [1 - 2**-53], [0.5]], dtype=torch.float64)
    assert draw(logits, uniform).tolist() == [1, 3, 3]
