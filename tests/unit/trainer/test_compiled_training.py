"""What changes how a step is computed must not change what it computes: compilation, activation checkpointing."""

import shutil

import pytest
import torch

from hanlin.base.device import Compute
from hanlin.base.errors import ConfigError
from hanlin.batches.batch import Batch
from hanlin.model.assemble import build_model
from hanlin.model.config import CoreConfig
from hanlin.objective.causal import Causal
from hanlin.trainer import compilation
from hanlin.trainer.compilation import REPAID_FROM, is_compiled
from hanlin.trainer.config import TrainingConfig
from hanlin.trainer.learner import Learner, prepare_memory
from hanlin.trainer.optimizer import build_optimizers
from hanlin.trainer.step import training_step

CPU = Compute(torch.device("cpu"), torch.float32)
CUDA = Compute(torch.device("cuda"), torch.bfloat16)


def losses(*, compiled: bool = False, **settings: bool) -> list[float]:
    torch.manual_seed(0)
    core = CoreConfig(vocab_size=40, width=32, layers=3, heads=2, window=16)
    config = TrainingConfig.model_validate({"steps": 10, "warmup": 1, **settings})
    model = build_model(core).train()
    prepare_memory(model, config)
    learner, optimizers = Learner(model, compiled), build_optimizers(model, config)
    tokens_BT = torch.randint(40, (4, 17))
    batch = Batch(tokens_BT[:, :-1], tokens_BT[:, 1:])
    return [
        training_step(
            learner, Causal(), optimizers, batch, CPU, micro_rows=2, clip=1.0, on_nonfinite="stop"
        ).loss
        for _ in range(4)
    ]


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU")
def test_compiled_training_has_the_curve_of_eager_training() -> None:
    assert losses(compiled=True) == pytest.approx(losses(), rel=1e-5)


def test_activation_checkpointing_changes_no_number() -> None:
    assert losses(activation_checkpointing=True) == losses()


def test_activation_checkpointing_that_is_set_after_compiling_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda function: function)
    model = build_model(CoreConfig(vocab_size=40, width=32, layers=3, heads=2, window=16)).train()
    learner, calls = Learner(model, compiled=True), list[int]()
    for number, block in enumerate(model.blocks):
        block.register_forward_pre_hook(lambda *_, number=number: calls.append(number))
    prepare_memory(model, TrainingConfig(activation_checkpointing=True))
    tokens_BT = torch.randint(40, (1, 17))
    learner(Causal(), Batch(tokens_BT[:, :-1], tokens_BT[:, 1:])).backward()
    assert sorted(calls) == [0, 0, 1, 1, 2], "each block but the last is computed anew"


def test_a_compiled_learner_has_the_parameters_of_its_model_once() -> None:
    model = build_model(CoreConfig(vocab_size=40, width=32, layers=1, heads=2, window=16))
    names = [name for name, _ in Learner(model, compiled=True).named_parameters()]
    assert names == [f"model.{name}" for name, _ in model.named_parameters()]


@pytest.mark.parametrize(
    ("choice", "compute", "flops", "expected"),
    [
        ("auto", CPU, 10 * REPAID_FROM, False),
        ("auto", CUDA, REPAID_FROM, True),
        ("auto", CUDA, REPAID_FROM - 1, False),
        ("always", CUDA, 1, True),
        ("never", CUDA, 10 * REPAID_FROM, False),
    ],
)
def test_settings_alone_decide(choice: str, compute: Compute, flops: int, expected: bool) -> None:
    assert is_compiled(TrainingConfig.model_validate({"compile": choice}), compute, flops) is expected


def test_without_a_compiler_it_is_refused_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilation, "_has_compiler", lambda: False)
    with pytest.raises(ConfigError, match="needs a C\\+\\+ compiler"):
        is_compiled(TrainingConfig(compile="always"), CPU, 1)
