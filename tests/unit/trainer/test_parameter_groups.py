import pytest
import torch

from hanlin.base.errors import ConfigError
from hanlin.model.assemble import build_model
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from hanlin.trainer.config import TrainingConfig
from hanlin.trainer.groups import learnings
from hanlin.trainer.optimizer import build_optimizers


def model(**settings: object) -> Decoder:
    shape = {"vocab_size": 20, "width": 16, "layers": 3, "heads": 2, "window": 8, "tied": False}
    return Decoder(CoreConfig.model_validate({**shape, **settings}))


def config(**settings: object) -> TrainingConfig:
    return TrainingConfig.model_validate({"optimizer": "adamw", "weight_decay": 0.1, **settings})


def test_norms_biases_and_embeddings_have_no_decay() -> None:
    network = model(style="gpt2", tied=True)
    decays = {name: one.decay for name, one in learnings(network, config()).items()}
    decayed = {name for name, decay in decays.items() if decay}
    assert decayed == {
        name for name, p in network.named_parameters() if name.startswith("blocks.") and p.dim() == 2
    }
    assert all("norm" not in name and "bias" not in name and "embed" not in name for name in decayed)
    relative = model(position="relative", tied=True)  # its table of biases is an embedding
    assert not any(
        one.decay or one.matrix for name, one in learnings(relative, config()).items() if "bucket" in name
    )


def test_the_first_group_that_matches_has_its_say() -> None:
    groups = [
        {"match": "blocks.0.*", "rate": 0.5},
        {"match": "blocks.*", "rate": 0.1, "decay": 0},
        {"match": "head.*", "decay": 0.3},
    ]
    found = learnings(model(), config(groups=groups))
    assert (found["blocks.0.ffn.up.weight"].rate, found["blocks.0.ffn.up.weight"].decay) == (0.5, 0.1)
    assert (found["blocks.2.ffn.up.weight"].rate, found["blocks.2.ffn.up.weight"].decay) == (0.1, 0.0)
    assert (found["head.weight"].rate, found["head.weight"].decay) == (1.0, 0.3)
    assert found["embed.token.weight"].rate == 1.0


def test_the_rate_falls_layer_by_layer() -> None:
    found = learnings(model(), config(layer_decay=0.5))
    rates = [
        found[name].rate
        for name in ("embed.token.weight", "blocks.0.ffn.up.weight", "blocks.2.ffn.up.weight", "head.weight")
    ]
    assert rates == [1 / 16, 1 / 8, 1 / 2, 1.0]


def test_embeddings_learn_slowest_wherever_a_model_has_them() -> None:
    core = CoreConfig(
        assembly="seq2seq", vocab_size=20, width=16, layers=2, decoder_layers=2, heads=2, window=8
    )
    found = learnings(build_model(core), config(layer_decay=0.5))
    assert found["encoder.embed.token.weight"].rate == 1 / 8
    assert found["encoder.blocks.0.ffn.up.weight"].rate == 1 / 4


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_rates_reach_the_optimizers(optimizer: str) -> None:
    network = model()
    names = {id(p): name for name, p in network.named_parameters()}
    built = build_optimizers(
        network, config(optimizer=optimizer, groups=[{"match": "blocks.1.*", "rate": 0.1}])
    )
    rates = {
        names[id(p)]: group["peak_lr"] for o in built for group in o.param_groups for p in group["params"]
    }
    peak = 5e-3 if optimizer == "muon" else 3e-3
    assert rates.keys() == set(names.values())
    assert rates["blocks.0.ffn.up.weight"] == pytest.approx(peak)
    assert rates["blocks.1.ffn.up.weight"] == pytest.approx(0.1 * peak)


@pytest.mark.parametrize("optimizer", ["adamw", "muon", "sgd", "schedule-free"])
def test_frozen_parameters_keep_their_bytes(optimizer: str) -> None:
    network = model()
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    built = build_optimizers(
        network, TrainingConfig.model_validate({"optimizer": optimizer, "frozen": ["embed.*", "blocks.0.*"]})
    )
    network(torch.randint(20, (2, 8))).square().mean().backward()
    for one in built:
        one.step()
    for name, p in network.named_parameters():
        assert torch.equal(p, before[name]) == name.startswith(("embed.", "blocks.0.")), name


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"groups": [{"match": "block.0.*", "rate": 0.5}]}, "blocks.0"),
        ({"frozen": ["embd.*"]}, "embed"),
        ({"frozen": ["zzz"]}, "blocks, embed, head, norm"),
        ({"groups": [{"match": "*", "rate": 0.5}, {"match": "head.*", "rate": 2}]}, "narrower pattern first"),
        ({"frozen": ["*"]}, "no parameter is left"),
        ({"frozen": ["head.*"], "groups": [{"match": "head.*", "rate": 2}]}, "no parameter that is trained"),
    ],
)
def test_a_pattern_that_does_nothing_is_an_error_that_names_near_names(
    settings: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        build_optimizers(model(), config(**settings))
