import pytest
from pydantic import ValidationError

from hanlin.base.errors import ConfigError
from hanlin.trainer.config import TrainingConfig


def settings(**values: object) -> TrainingConfig:
    return TrainingConfig.model_validate({"warmup": 2, **values})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"optimizer": "adamw", "muon_learning_rate": 0.01}, "muon_learning_rate does nothing with optimizer adamw; .* muon"),
        ({"optimizer": "adam", "momentum": 0.9}, "momentum does nothing .* muon, sgd"),
        ({"optimizer": "sgd", "betas": [0.8, 0.9]}, "betas does nothing"),
        ({"schedule": "cosine", "decay_share": 0.5}, "decay_share does nothing .* warmup-stable-decay"),
        ({"schedule": "constant", "final_share": 0.5}, "final_share does nothing"),
        ({"batch": "full", "batch_rows": 4}, "batch_rows does nothing with batch full"),
        ({"ema_use": "model"}, "ema_use does nothing without ema"),
        ({"steps": 10, "epochs": 2}, "steps and epochs"),
        ({"schedule": "inverse-sqrt", "warmup": 0}, "inverse-sqrt has its peak"),
        ({"optimizer": "schedule-free", "schedule": "linear"}, "leave schedule out"),
        ({"optimizer": "schedule-free", "ema": 0.9}, "leave ema out"),
        ({"groups": [{"match": "blocks.*"}]}, "changes nothing"),
        ({"warmup": 10, "steps": 10}, "leaves none"),
        ({"micro_rows": 32}, "larger than batch_rows"),
    ],
)  # fmt: skip
def test_settings_that_would_do_nothing_or_contradict_are_errors(
    values: dict[str, object], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        settings(**values)


def test_defaults_follow_the_optimizer_and_what_is_given_goes_before_them() -> None:
    assert settings(optimizer="sgd").momentum == 0
    assert settings(optimizer="sgd", momentum=0.9).momentum == 0.9
    assert settings(optimizer="adam").betas == (0.9, 0.999)
    assert settings(optimizer="schedule-free").schedule == "constant"
    assert settings().momentum == 0.95
    assert settings().schedule == "cosine"


@pytest.mark.parametrize("optimizer", ["muon", "adamw", "adam", "sgd", "schedule-free"])
def test_what_was_written_can_be_read_again(optimizer: str) -> None:
    config = settings(optimizer=optimizer)
    assert TrainingConfig.model_validate(config.model_dump(mode="json")) == config


def test_epochs_become_steps_and_a_full_batch_the_rows_of_the_split() -> None:
    assert settings(epochs=3, batch_rows=8).for_rows(100).steps == 38  # 300 rows, the last step goes beyond
    assert settings(epochs=2.5, batch_rows=10).for_rows(100).steps == 25
    full = settings(epochs=7, batch="full").for_rows(100)
    assert (full.steps, full.batch_rows, full.micro_rows) == (7, 100, 16)
    assert settings(steps=50, batch="full", micro_rows=3).for_rows(100).micro_rows == 3
    with pytest.raises(ConfigError, match="warmup 2 leaves none"):
        settings(epochs=0.1, batch_rows=10).for_rows(100)
