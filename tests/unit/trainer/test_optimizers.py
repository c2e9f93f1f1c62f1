import math

import pytest
import torch

from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from hanlin.trainer.config import PretrainConfig
from hanlin.trainer.muon import Muon, orthogonalize
from hanlin.trainer.optimizer import build_optimizers, load_optimizer_tensors, optimizer_tensors, set_rate


def adam(gradients: list[float], lr: float, b1: float, b2: float, corrected: bool) -> list[float]:
    """Adam on one weight as the paper writes it (arXiv 1412.6980, algorithm 1), with or without correction."""
    weight, m, v, path = 0.0, 0.0, 0.0, []
    for t, g in enumerate(gradients, 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        m_hat, v_hat = (m / (1 - b1**t), v / (1 - b2**t)) if corrected else (m, v)
        weight -= lr * m_hat / (math.sqrt(v_hat) + 1e-8)
        path.append(weight)
    return path


def test_adamw_equals_the_paper_for_a_thousand_steps_and_needs_its_bias_correction() -> None:
    generator = torch.Generator().manual_seed(0)
    gradients = torch.randn(1000, generator=generator, dtype=torch.float64).tolist()
    weight = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.AdamW([weight], lr=1e-2, betas=(0.9, 0.999), weight_decay=0.0, fused=True)
    path = []
    for gradient in gradients:
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
        path.append(float(weight.detach()))
    assert path == pytest.approx(adam(gradients, 1e-2, 0.9, 0.999, corrected=True), abs=1e-9)
    first = adam(gradients[:1], 1e-2, 0.9, 0.999, corrected=False)[0]
    assert abs(path[0]) == pytest.approx(1e-2, rel=1e-6)  # the first step is the rate times the sign
    assert abs(first / path[0]) == pytest.approx(
        math.sqrt(10), rel=1e-3
    )  # without correction 3.16 times too far


@pytest.mark.parametrize("shape", [(32, 32), (48, 16), (16, 48)])
def test_orthogonalize_gives_singular_values_near_one_along_the_same_directions(
    shape: tuple[int, int],
) -> None:
    matrix = torch.randn(1, *shape, generator=torch.Generator().manual_seed(1))
    result = orthogonalize(matrix)
    assert result.dtype == matrix.dtype
    singular = torch.linalg.svdvals(result[0])
    assert 0.5 < float(singular.min()) <= float(singular.max()) < 1.3
    u, _, vh = torch.linalg.svd(matrix[0], full_matrices=False)
    assert float(((u @ vh) * result[0]).sum() / (u @ vh).norm() / result.norm()) > 0.97


def test_orthogonalize_treats_stacked_matrices_like_single_ones() -> None:
    matrices = torch.randn(3, 8, 12, generator=torch.Generator().manual_seed(2))
    together = orthogonalize(matrices)
    for index in range(3):
        torch.testing.assert_close(
            together[index], orthogonalize(matrices[index : index + 1])[0], atol=1e-5, rtol=0
        )


def test_one_step_of_muon_lowers_a_convex_loss_and_has_the_rms_of_adam() -> None:
    target = torch.randn(24, 24, generator=torch.Generator().manual_seed(3))
    weight = torch.zeros(24, 24, requires_grad=True)
    optimizer = Muon([weight], lr=0.1, momentum=0.95, weight_decay=0.0)
    before = ((weight - target) ** 2).sum()
    before.backward()
    optimizer.step()
    assert float(((weight.detach() - target) ** 2).sum()) < float(before.detach())
    rms = float(weight.detach().square().mean().sqrt())
    assert rms == pytest.approx(0.1 * 0.2, rel=0.25)


def test_every_parameter_has_exactly_one_optimizer_and_only_block_matrices_go_to_muon() -> None:
    model = Decoder(CoreConfig(vocab_size=50, width=16, layers=2, heads=2, window=8, tied=False))
    adamw, muon = build_optimizers(model, PretrainConfig(steps=10, warmup=1))
    names = {id(p): name for name, p in model.named_parameters()}
    by_muon = {names[id(p)] for group in muon.param_groups for p in group["params"]}
    by_adamw = {names[id(p)] for group in adamw.param_groups for p in group["params"]}
    assert by_muon | by_adamw == set(names.values())
    assert not by_muon & by_adamw
    assert all(name.startswith("blocks.") and "norm" not in name for name in by_muon)
    assert {"embed.token.weight", "head.weight", "norm.weight"} <= by_adamw


@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_optimizer_state_survives_a_round_trip_by_name(kind: str) -> None:
    config = PretrainConfig.model_validate({"steps": 10, "warmup": 1, "optimizer": kind})

    def build() -> tuple[Decoder, list[torch.optim.Optimizer]]:
        torch.manual_seed(0)
        model = Decoder(CoreConfig(vocab_size=40, width=16, layers=1, heads=2, window=8))
        return model, build_optimizers(model, config)

    def step(model: Decoder, optimizers: list[torch.optim.Optimizer], seed: int) -> None:
        tokens = torch.randint(40, (2, 8), generator=torch.Generator().manual_seed(seed))
        model(tokens).square().mean().backward()
        set_rate(optimizers, 0.5)
        for optimizer in optimizers:
            optimizer.step()
        model.zero_grad()

    model, optimizers = build()
    step(model, optimizers, 1)
    other, others = build()
    other.load_state_dict(model.state_dict())
    saved = {name: value.clone() for name, value in optimizer_tensors(model, optimizers).items()}
    load_optimizer_tensors(other, others, saved)
    for seed in (2, 3):
        step(model, optimizers, seed)
        step(other, others, seed)
    for mine, theirs in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, theirs)
