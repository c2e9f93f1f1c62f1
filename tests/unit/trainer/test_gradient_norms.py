import math

import pytest
import torch

from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from hanlin.trainer.gradients import gradient_norms, gradient_report, norms_by_part, part_of
from hanlin.trainer.loss_scale import GROW_AFTER, LossScale


def trained_once() -> Decoder:
    torch.manual_seed(0)
    model = Decoder(CoreConfig(vocab_size=20, width=16, layers=3, heads=2, window=8, tied=False))
    model(torch.randint(20, (2, 8))).square().mean().backward()
    return model


def test_the_norm_of_the_whole_is_torchs_bit_for_bit_and_that_of_the_parts_joined() -> None:
    model = trained_once()
    total, norms_N = gradient_norms(list(model.parameters()))
    assert torch.equal(total, torch.nn.utils.get_total_norm([p.grad for p in model.parameters()]))
    parts = norms_by_part(model, norms_N)
    assert list(parts) == [
        f"gradient_norm.{part}" for part in ("embed", "blocks.0", "blocks.1", "blocks.2", "norm", "head")
    ]
    assert math.hypot(*parts.values()) == pytest.approx(float(total), rel=1e-5)
    flat = torch.cat([p.grad.flatten() for p in model.blocks[1].parameters()])
    assert parts["gradient_norm.blocks.1"] == pytest.approx(float(flat.norm()), rel=1e-5)


def test_parts_are_blocks_of_any_stack() -> None:
    assert part_of("blocks.10.ffn.up.weight") == "blocks.10"
    assert part_of("decoder.blocks.1.norm.weight") == "decoder.blocks.1"
    assert part_of("embed.token.weight") == "embed"


@pytest.mark.parametrize(("factor", "word"), [(1e-5, "Vanishing"), (1e4, "Exploding"), (0.5, "Healthy")])
def test_vanishing_and_exploding_gradients_are_told_in_words(factor: float, word: str) -> None:
    lines = [
        {"loss": 3.0, "gradient_norm": 1.0, "gradient_norm.embed": 9.0}
        | {f"gradient_norm.blocks.{index}": 2.0 * scale for index, scale in enumerate((factor, 1.0, 1.0))}
        for _ in range(3)
    ]
    report = gradient_report([{"loss": 3.0}, *lines])
    assert report["gradient_first_to_last_block"] == pytest.approx(factor)
    assert report["gradients"].startswith(word)
    assert gradient_report([{"gradient_norm.blocks.0": 1.0}]) == {}


def test_the_loss_scale_halves_at_an_overflow_grows_after_many_good_steps_and_ends_at_one() -> None:
    scale = LossScale()
    assert scale.overflowed(finite=False)
    assert scale.scale == 2.0**15
    assert not any(scale.overflowed(finite=True) for _ in range(GROW_AFTER))
    assert scale.scale == 2.0**16
    while scale.scale > 1:
        assert scale.overflowed(finite=False)
    assert not scale.overflowed(finite=False)
