"""What tests of fine-tuning share: tiny models, a training loop of a few lines, and gradients by name."""

import numpy as np
import torch

from hanlin.batches.loader import Loader
from hanlin.model.assemble import build_model
from hanlin.model.config import CoreConfig
from hanlin.trainer.config import PretrainConfig
from hanlin.trainer.learner import Learner
from hanlin.trainer.optimizer import build_optimizers
from hanlin.trainer.step import training_step
from tiny import CPU

V = 24


def tiny(style="bert", seed=0, far=True, **settings):
    """A model of 2 layers, 16 wide; with `far`, its weights are far from zero."""
    torch.manual_seed(seed)
    shape = {"vocab_size": V, "width": 16, "layers": 2, "heads": 2, "window": 32, "style": style}
    model = build_model(CoreConfig.model_validate({**shape, **settings}))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * (0.15 if far else 0))
    return model.eval()


def every_row(examples, rows=None):
    """All of the examples, or some, as one batch."""
    chosen = np.arange(len(examples)) if rows is None else np.array(rows)
    return examples.batch(chosen, [(0, 0, int(row)) for row in chosen])


def gradients(model, objective, batches):
    """The loss and its gradients, added up over the batches and divided once by the count."""
    count = sum(objective.count(batch) for batch in batches)
    model.zero_grad(set_to_none=True)
    total = 0.0
    for batch in batches:
        loss = objective.loss(model, batch) / count
        loss.backward()
        total += float(loss.detach())
    return total, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def same(first, second, tolerance=1e-5):
    """Equal losses and gradients."""
    assert abs(first[0] - second[0]) < tolerance
    assert first[1].keys() == second[1].keys()
    for name, gradient in first[1].items():
        torch.testing.assert_close(gradient, second[1][name], atol=tolerance, rtol=0, msg=name)


def learn(model, objective, examples, steps, rows=16, rate=3e-3, micro_rows=None, **settings):
    """Train on batches from a loader; the losses."""
    config = PretrainConfig(
        steps=steps, warmup=0, optimizer="adamw", learning_rate=rate, weight_decay=0, **settings
    )
    learner, optimizers = Learner(model.train()), build_optimizers(model, config)
    stream = Loader(examples, rows=rows).stream(0)
    losses = [
        training_step(
            learner, objective, optimizers, next(stream), CPU, micro_rows=micro_rows or rows, clip=1.0, on_nonfinite="stop"
        ).loss
        for _ in range(steps)
    ]  # fmt: skip
    model.eval()
    return losses


def examined(model, objective, batch):
    """What `examine` says, divided."""
    with torch.no_grad():
        return {name: part / max(1, whole) for name, (part, whole) in objective.examine(model, batch).items()}
