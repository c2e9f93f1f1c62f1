"""Each filter on rows worked by hand, their composition, and draws against the exact distribution."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from hanlin.base.errors import CheckpointError
from hanlin.generate.controls import Controls
from hanlin.generate.filters import (
    apply_temperature,
    draw,
    first_of_greatest,
    greatest,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    keep_typical,
)
from hanlin.generate.parameters import SamplingParameters
from hanlin.generate.sampling import choose

logits_rows = st.lists(
    st.floats(-20, 20, width=32) | st.sampled_from([0.0, 1.0, 1.0, -1.0]), min_size=1, max_size=12
)


@dataclass
class Row:
    """A request whose random numbers are given."""

    parameters: SamplingParameters
    numbers: Sequence[float] = (0.5,)
    controls: Controls | None = None
    token_ids: list[int] = field(default_factory=list)
    drawn: int = 0

    def uniform(self) -> float:
        self.drawn += 1
        return self.numbers[(self.drawn - 1) % len(self.numbers)]


def column(*values: float) -> Tensor:
    return torch.tensor([[value] for value in values])


def total(logits: Tensor) -> Tensor:
    return logits.logsumexp(-1, keepdim=True)


def kept(logits_BV: Tensor) -> list[list[int]]:
    return [row.isfinite().nonzero().flatten().tolist() for row in logits_BV]


def test_rows_by_hand() -> None:
    row = torch.tensor([[0.5, 0.2, 0.2, 0.1]]).double().log()
    assert kept(keep_top_k(row, torch.tensor([[1]]))) == [[0]]
    assert kept(keep_top_k(row, torch.tensor([[0]]))) == [[0, 1, 2, 3]]
    assert kept(keep_top_k(row, torch.tensor([[99]]))) == [[0, 1, 2, 3]]
    for p, ids in ((1e-9, [0]), (0.49, [0]), (0.51, [0, 1]), (0.71, [0, 1, 2]), (1.0, [0, 1, 2, 3])):
        assert kept(keep_top_p(row, column(p), total(row))) == [ids]
    for p, ids in ((0.39, [0, 1, 2]), (0.41, [0]), (1.0, [0]), (0.0, [0, 1, 2, 3])):
        assert kept(keep_min_p(row, column(p))) == [ids]
    # Surprises are 0.69, 1.61, 1.61 and 2.30, the entropy is 1.22: 0.39, 0.39, 0.53 and 1.08 away.
    for p, ids in ((0.1, [1]), (0.39, [1, 2]), (0.5, [0, 1, 2]), (0.95, [0, 1, 2, 3]), (1.0, [0, 1, 2, 3])):
        assert kept(keep_typical(row, column(p))) == [ids]


def test_temperature_and_its_limits() -> None:
    row = torch.tensor([[1.0, 3.0, 3.0, -2.0]])
    assert apply_temperature(row, column(2.0)).tolist() == [[0.5, 1.5, 1.5, -1.0]]
    cold = apply_temperature(torch.tensor([[1.0, 3.0, 2.9]]), column(1e-3)).softmax(-1)
    assert torch.allclose(cold, torch.tensor([[0.0, 1.0, 0.0]]))
    hot = apply_temperature(row, column(1e6)).softmax(-1)
    assert torch.allclose(hot, torch.full((1, 4), 0.25), atol=1e-5)
    greedy = Row(SamplingParameters(temperature=0, top_k=3, typical_p=0.1, seed=1))
    assert choose(row, [greedy])[0].id == 1  # of equals the first, whatever the filters
    assert greedy.drawn == 0


@given(
    rows=st.integers(1, 3),
    V=st.integers(1, 3000),
    count=st.integers(1, 40),
    levels=st.sampled_from([3, 10**6]),
)
@settings(max_examples=100, deadline=None)
def test_the_greatest_are_those_of_a_whole_sort(rows: int, V: int, count: int, levels: int) -> None:
    """With few levels there are many equals; there the values are sure, and the order of the ids."""
    random = torch.Generator().manual_seed(V)
    logits = torch.randint(levels, (rows, V), generator=random).float()
    logits[:, ::7] = -torch.inf
    values, ids = greatest(logits, count)
    expected, order = logits.sort(dim=-1, descending=True, stable=True)
    assert torch.equal(values, expected[:, :count])
    assert torch.equal(logits.gather(-1, ids), values)
    pairs = [
        list(zip((-value for value in row), at, strict=True))
        for row, at in zip(values.tolist(), ids.tolist(), strict=True)
    ]
    assert all(row == sorted(row) and len(set(row)) == len(row) for row in pairs)
    assert torch.equal(first_of_greatest(logits), order[:, 0])


@given(row=logits_rows, k=st.integers(0, 14), p=st.floats(0.01, 1))
@settings(max_examples=120, deadline=None)
def test_filters_keep_what_their_definitions_say(row: list[float], k: int, p: float) -> None:
    logits = torch.tensor([row]).double().sort(descending=True).values
    probability = logits.softmax(-1)[0]
    assert kept(keep_top_k(logits, torch.tensor([[k]]))) == [list(range(len(row)))[: k or None]]

    (nucleus,) = kept(keep_top_p(logits, column(p), total(logits)))
    assert nucleus == list(range(len(nucleus)))
    if p < 1:
        assert float(probability[nucleus].sum()) >= p - 1e-9
        assert float(probability[nucleus[:-1]].sum()) < p + 1e-9

    (likely,) = kept(keep_min_p(logits, column(p)))
    ratio = probability / probability[0]
    assert all(float(ratio[id]) >= p - 1e-6 for id in likely)
    assert all(float(ratio[id]) <= p + 1e-6 for id in range(len(row)) if id not in likely)

    (typical,) = kept(keep_typical(logits, column(p)))
    away = (-probability.log() - torch.special.entr(probability).sum()).abs()
    if p < 1:
        assert float(probability[typical].sum()) >= p - 1e-9
        farthest = max(typical, key=lambda id: float(away[id]))
        assert float(probability[typical].sum() - probability[farthest]) < p + 1e-9
        assert all(
            float(away[id]) >= float(away[farthest]) - 1e-9 for id in range(len(row)) if id not in typical
        )


def distribution(logits_V: Tensor, parameters: SamplingParameters) -> Tensor:
    """What the parameters say, done plainly over the whole vocabulary: (V,) float64."""
    values, ids = (logits_V.double() / parameters.temperature).sort(descending=True, stable=True)
    values = keep_top_k(values.unsqueeze(0), torch.tensor([[parameters.top_k]]))
    values = keep_top_p(values, column(parameters.top_p), total(values))
    values = keep_typical(keep_min_p(values, column(parameters.min_p)), column(parameters.typical_p))
    return torch.zeros_like(logits_V, dtype=torch.float64).scatter_(0, ids, values[0].softmax(-1))


drawn = st.builds(
    SamplingParameters,
    temperature=st.sampled_from([0.3, 1.0, 2.0]),
    top_k=st.sampled_from([0, 1, 3, 150]),
    top_p=st.sampled_from([0.3, 0.9, 0.999, 1.0]),
    min_p=st.sampled_from([0.0, 1e-6, 0.2]),
    typical_p=st.sampled_from([0.5, 1.0, 1.0]),
)


@given(
    rows=st.lists(drawn, min_size=1, max_size=4), seed=st.integers(0, 1000), levels=st.sampled_from([None, 4])
)
@settings(max_examples=50, deadline=None)
def test_every_row_is_drawn_from_its_own_distribution(
    rows: list[SamplingParameters], seed: int, levels: int | None
) -> None:
    """In a batch as alone; a number in [0, 1) gives a token of positive probability, and which does not depend on
    neighbours."""
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(len(rows), 2500, generator=random) * 3
    if levels is not None:
        logits = logits.round().clamp(-levels, levels)
    numbers = torch.rand(len(rows), generator=random).tolist()
    requests = [Row(row, [number]) for row, number in zip(rows, numbers, strict=True)]
    together = [chosen.id for chosen in choose(logits.clone(), requests)]
    for n, (row, number) in enumerate(zip(rows, numbers, strict=True)):
        assert together[n] == choose(logits[n : n + 1].clone(), [Row(row, [number])])[0].id
        assert distribution(logits[n], row)[together[n]] > 0


@pytest.mark.parametrize(
    "parameters",
    [
        SamplingParameters(),
        SamplingParameters(temperature=1.7, top_k=5),
        SamplingParameters(temperature=0.6, top_p=0.8),
        SamplingParameters(min_p=0.1),
        SamplingParameters(typical_p=0.6),
        SamplingParameters(temperature=1.3, top_k=6, top_p=0.95, min_p=0.02, typical_p=0.8),
    ],
)
def test_draws_follow_the_filtered_distribution(parameters: SamplingParameters) -> None:
    """Pearson's chi-square test at the 0.1 % level, with fixed seeds."""
    n = 10_000
    logits = torch.linspace(2, -2, 8)[torch.tensor([3, 1, 7, 0, 5, 2, 6, 4])]
    expected = distribution(logits, parameters) * n
    numbers = torch.rand(n, dtype=torch.float64, generator=torch.Generator().manual_seed(5)).tolist()
    ids = [
        chosen.id for chosen in choose(logits.repeat(n, 1), [Row(parameters, [number]) for number in numbers])
    ]
    counts = torch.bincount(torch.tensor(ids), minlength=8).double()
    possible = expected > 0
    assert counts[~possible].sum() == 0
    statistic = float(((counts - expected)[possible] ** 2 / expected[possible]).sum())
    freedom = int(possible.sum()) - 1
    bound = (
        freedom * (1 - 2 / (9 * freedom) + 3.09 * math.sqrt(2 / (9 * freedom))) ** 3
    )  # Wilson and Hilferty
    assert statistic < bound


def test_a_nucleus_of_the_whole_vocabulary_is_drawn_from_entirely() -> None:
    """Flat logits: more candidates are needed than are looked at first."""
    rows = [Row(SamplingParameters(top_p=0.90005), [(n + 0.5) / 60]) for n in range(60)]
    ids = [chosen.id for chosen in choose(torch.zeros(60, 3000), rows)]
    assert ids == [int((n + 0.5) / 60 * 2701) for n in range(60)]
    rows = [Row(SamplingParameters(typical_p=0.90005), [(n + 0.5) / 60]) for n in range(60)]
    assert [chosen.id for chosen in choose(torch.zeros(60, 3000), rows)] == ids


def test_the_ends_of_the_unit_interval_draw_possible_tokens() -> None:
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf, 0.0, -torch.inf]]).expand(3, -1)
    uniform = torch.tensor([[0.0], [1 - 2**-53], [0.5]], dtype=torch.float64)
    assert draw(logits, uniform).tolist() == [1, 3, 3]


def test_log_probabilities_are_the_models_own() -> None:
    """Whatever is asked of the draw, and of each row as much as it asks for."""
    logits = torch.randn(3, 500, generator=torch.Generator().manual_seed(2)) * 2
    expected = logits.double().log_softmax(-1)
    rows = [
        Row(SamplingParameters(temperature=0, log_probabilities=0)),
        Row(SamplingParameters(temperature=0.1, top_k=3, log_probabilities=5)),
        Row(SamplingParameters()),
    ]
    first, second, third = choose(logits.clone(), rows)
    assert first.log_probability == pytest.approx(float(expected[0].max()), abs=1e-5)
    assert first.top == ()
    assert second.log_probability == pytest.approx(float(expected[1, second.id]), abs=1e-5)
    order = expected[1].argsort(descending=True)[:5]
    assert [id for id, _ in second.top] == order.tolist()
    assert [p for _, p in second.top] == pytest.approx(expected[1, order].tolist(), abs=1e-5)
    assert (third.log_probability, third.top) == (None, ())


@pytest.mark.parametrize("others", [{}, {"top_p": 0.9}, {"top_k": 2}, {"typical_p": 0.5}])
@pytest.mark.parametrize("temperature", [1e-38, 1e-300])
def test_almost_no_temperature_takes_the_likeliest(temperature: float, others: dict[str, float]) -> None:
    row = Row(SamplingParameters.model_validate({"temperature": temperature, **others}), [0.99])
    assert choose(torch.tensor([[3.0, 25.0, -8.0, 24.9]]), [row])[0].id == 1


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("parameters", [SamplingParameters(temperature=0), SamplingParameters(top_k=2)])
def test_logits_that_are_not_finite_are_damage(value: float, parameters: SamplingParameters) -> None:
    logits = torch.zeros(2, 9)
    logits[1, 4] = value
    with pytest.raises(CheckpointError, match="no finite logits"):
        choose(logits, [Row(parameters), Row(parameters)])
    with pytest.raises(CheckpointError, match="no finite logits"):
        choose(torch.full((1, 9), -torch.inf), [Row(parameters)])
