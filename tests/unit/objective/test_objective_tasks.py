"""Several tasks on one body, as parts of one mixture in the one loop."""

import numpy as np
import pytest
import torch

from finetuning import V, examined, tiny
from hanlin.base.errors import ConfigError
from hanlin.batches.labelled import LabelledTexts
from hanlin.batches.labels import class_labels, numbers
from hanlin.batches.loader import Loader
from hanlin.model.multitask import MultiTask
from hanlin.objective.classification import Classification
from hanlin.objective.contrastive import Contrastive
from hanlin.objective.mixture import Mixture, Part
from hanlin.objective.regression import Regression
from hanlin.objective.task import ForTask
from hanlin.tokenizer.framing import Encoding
from hanlin.trainer.config import PretrainConfig
from hanlin.trainer.loop import train
from hanlin.trainer.optimizer import build_optimizers
from hanlin.trainer.state import TrainState
from tiny import CPU


def shared(**second):
    of_body = {"far": False, "layers": 1, "pooling": "mean"}
    return MultiTask(
        {
            "kind": tiny(**of_body, head="classify", labels=2),
            "share": tiny(**{**of_body, "head": "regress", "seed": 1, **second}),
        }
    )


def test_the_body_is_one_and_the_heads_are_two():
    model = shared()
    kind, share = model.tasks["kind"], model.tasks["share"]
    assert kind.blocks[0].attention is share.blocks[0].attention
    assert kind.embed.token.weight is share.embed.token.weight
    assert kind.head is not share.head
    whole = sum(p.numel() for p in kind.parameters())
    extra = sum(p.numel() for name, p in share.named_parameters() if name.split(".")[0] in ("head", "pooler"))
    assert sum(p.numel() for p in model.parameters()) == whole + extra
    with pytest.raises(ConfigError, match="task share cannot share a body: its model differs in dropout"):
        shared(dropout=0.1)


def test_both_tasks_are_learned_in_one_run():
    draw = np.random.default_rng(0)
    texts = [draw.integers(4, V, draw.integers(3, 8)).tolist() for _ in range(160)]
    encoded = [Encoding(ids, [0] * len(ids), [0] * len(ids), 0) for ids in texts]
    shares = np.array([np.mean([token < 14 for token in ids]) for ids in texts])
    kinds = LabelledTexts(encoded, class_labels((shares > 0.5).astype(int).tolist(), 2), 0)
    numbered = LabelledTexts(encoded, numbers((2 * shares - 1).tolist()), 0)
    mixture = Mixture(
        [
            Part("kind", ForTask("kind", Classification()), Loader(kinds, rows=32), Loader(kinds, rows=160)),
            Part(
                "share", ForTask("share", Regression()), Loader(numbered, rows=32), Loader(numbered, rows=160)
            ),
        ]
    )
    model = shared()
    config = PretrainConfig(
        steps=100, warmup=0, batch_rows=32, optimizer="adamw", learning_rate=1e-2, evaluate_every=100, save_every=100
    )  # fmt: skip
    state = TrainState(model, build_optimizers(model, config), taken=mixture.start())
    train(state, mixture, config, CPU, save=lambda state: None, sinks=[], peak_rate=1e9)
    (batch,), (numbers_batch,) = Loader(kinds, rows=160).once(), Loader(numbered, rows=160).once()
    assert examined(model.eval(), mixture.parts[0].objective, batch)["accuracy"] > 0.9
    assert examined(model, mixture.parts[1].objective, numbers_batch)["loss"] < 0.3 * (2 * shares - 1).var()


def test_a_task_is_whole_where_its_objective_is():
    assert ForTask("a", Contrastive()).whole_batch
    assert not ForTask("a", Regression()).whole_batch
    batch = torch.zeros(1)
    with pytest.raises(AssertionError):
        ForTask("a", Regression()).loss(tiny(head="regress"), batch)
