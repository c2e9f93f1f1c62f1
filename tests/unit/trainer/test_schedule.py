from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanlin.trainer.config import PretrainConfig
from hanlin.trainer.schedule import rate_share


def test_warmup_rises_linearly_to_the_peak() -> None:
    config = PretrainConfig(steps=100, warmup=4, schedule="constant")
    assert [rate_share(step, config) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_cosine_is_halfway_in_the_middle_and_ends_at_the_final_share() -> None:
    config = PretrainConfig(steps=100, warmup=0, schedule="cosine", final_share=0.2)
    assert rate_share(49, config) == pytest.approx(0.6)
    assert rate_share(99, config) == pytest.approx(0.2)


def test_stable_then_linear_decay() -> None:
    config = PretrainConfig(
        steps=100, warmup=10, schedule="warmup-stable-decay", decay_share=0.4, final_share=0.0
    )
    assert {rate_share(step, config) for step in range(10, 60)} == {1.0}
    assert rate_share(79, config) == pytest.approx(0.5)
    assert rate_share(99, config) == pytest.approx(0.0)


@given(
    steps=st.integers(2, 500),
    warmup=st.integers(0, 400),
    schedule=st.sampled_from(["cosine", "warmup-stable-decay", "constant", "inverse-sqrt"]),
    decay=st.floats(0.01, 1),
    final=st.floats(0, 1),
)
def test_every_share_lies_between_0_and_1_and_never_rises_after_warmup(
    steps: int, warmup: int, schedule: str, decay: float, final: float
) -> None:
    if schedule == "inverse-sqrt":
        warmup = max(1, warmup)
    if warmup >= steps:
        with pytest.raises(ValueError, match="warmup"):
            PretrainConfig(steps=steps, warmup=warmup)
        return
    settings = {"steps": steps, "warmup": warmup, "schedule": schedule}
    if schedule == "warmup-stable-decay":
        settings["decay_share"] = decay
    if schedule in ("cosine", "warmup-stable-decay"):
        settings["final_share"] = final
    config = PretrainConfig.model_validate(settings)
    shares = [rate_share(step, config) for step in range(steps)]
    assert all(0 <= share <= 1 + 1e-12 for share in shares)
    after = shares[max(0, warmup - 1) :]
    assert all(later <= earlier + 1e-12 for earlier, later in pairwise(after))


def test_linear_falls_evenly_to_the_final_share() -> None:
    config = PretrainConfig(steps=100, warmup=0, schedule="linear", final_share=0.2)
    assert rate_share(49, config) == pytest.approx(0.6)
    assert rate_share(99, config) == pytest.approx(0.2)


def test_inverse_square_root_is_that_of_the_paper_relative_to_its_peak() -> None:
    """lr = d^-0.5 min(step^-0.5, step warmup^-1.5), steps counted from 1 (arXiv 1706.03762, eq. 3)."""
    config = PretrainConfig(steps=1000, warmup=40, schedule="inverse-sqrt")
    paper = [512**-0.5 * min(step**-0.5, step * 40**-1.5) for step in range(1, 1001)]
    ours = [rate_share(step, config) for step in range(1000)]
    assert ours == pytest.approx([rate / paper[39] for rate in paper])
    assert ours[159] == pytest.approx(0.5)
