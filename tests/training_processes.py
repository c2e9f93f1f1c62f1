"""What tests of several processes run in each of them: a tiny model on random tokens with uneven masks.

In a file of its own because new processes find it by name.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from hanlin.base.distributed import gathered, part_ways, rank, ranks
from hanlin.base.errors import DiskError
from hanlin.base.language import Text
from hanlin.batches.batch import IGNORE
from hanlin.batches.loader import Loader
from hanlin.batches.pack import PackedRows
from hanlin.checkpoint.folder import open_model
from hanlin.checkpoint.resume import Checkpoint, load_train_state, save_checkpoint
from hanlin.checkpoint.sharded import BackgroundWriter
from hanlin.model.config import CoreConfig
from hanlin.model.decoder import Decoder
from hanlin.objective.causal import Causal
from hanlin.objective.mixture import Mixture, Part
from hanlin.tokenizer.tokenizer import Tokenizer
from hanlin.trainer.config import TrainingConfig
from hanlin.trainer.learner import Learner
from hanlin.trainer.loop import train
from hanlin.trainer.optimizer import build_optimizers, optimizer_tensors
from hanlin.trainer.parallel import distribute, own_part, whole
from hanlin.trainer.state import TrainState
from hanlin.trainer.step import training_step
from tiny import CPU

STEPS = 20
CORE = {"width": 20, "layers": 2, "heads": 2, "window": 16}
"""Widths that two processes divide evenly, and heads and a vocabulary that four do not."""


class Masked(PackedRows):
    """Rows of which some have no target that counts and others few."""

    def batch(self, rows, seeds):
        batch = super().batch(rows, seeds)
        targets = batch.targets_BT.clone()
        for row, target in zip(rows.tolist(), targets, strict=True):
            target[: row * 7 % 17] = IGNORE
        return replace(batch, targets_BT=targets)


class Curve:
    """A sink that keeps what it is told."""

    def __init__(self):
        self.lines = {}

    def write(self, step, metrics):
        self.lines[step] = dict(metrics)

    def close(self):
        pass


def settings(**changes):
    given = {
        "steps": STEPS,
        "warmup": 2,
        "batch_rows": 8,
        "micro_rows": 2,
        "log_every": 1,
        "evaluate_every": 10,
    }
    return TrainingConfig.model_validate({**given, "save_every": 10, "validation_rows": 10, **changes})


def mixture(config, vocab_size):
    tokens = np.random.default_rng(0).integers(1, vocab_size, 16 * 60 + 1).astype(np.uint16)
    examples = Masked(tokens, CORE["window"], begin_id=0)
    train_rows = Loader(examples, rows=config.batch_rows, seed=1, rank=rank(), ranks=ranks())
    return Mixture([Part("causal", Causal(), train_rows, Loader(examples, rows=2))])


def run(config, tokenizer, run_folder=None, start=None, **core):
    """Train, from `start` if given, and save to `run_folder`; every line of metrics and all weights at the end."""
    shape = CoreConfig(vocab_size=tokenizer.vocab_size, **{**CORE, **core})
    torch.manual_seed(0)
    model = Decoder(shape) if start is None else open_model(start, CPU)[0]
    part_ways()
    learner = Learner(model)
    distribute(learner, config.distribution, CPU)
    state = TrainState(model, build_optimizers(model, config), learner=learner)
    if start is not None:
        state.restore(*load_train_state(start, model))
    writer = BackgroundWriter() if ranks() > 1 else None

    def save(state):
        if run_folder is None:
            return
        folder = run_folder / f"step-{state.step}"
        checkpoint = Checkpoint(model, tokenizer, state.tensors(), state.values(), {}, {})
        if writer is None:
            save_checkpoint(folder, checkpoint)
        else:
            writer.save(folder, checkpoint)

    curve = Curve()
    train(state, mixture(config, tokenizer.vocab_size), config, CPU, save=save, sinks=[curve], peak_rate=1.0)
    if writer is not None:
        writer.wait()
    return curve.lines, {name: whole(p.detach()) for name, p in model.named_parameters()}


def keep(folder, name, result):
    """Write what `run` gave where the test finds it."""
    lines, weights = result
    if rank() == 0:
        (folder / f"{name}.json").write_text(json.dumps(lines))
        torch.save(weights, folder / f"{name}.pt")


def kept(folder, name):
    lines = json.loads((folder / f"{name}.json").read_text())
    return {int(step): line for step, line in lines.items()}, torch.load(folder / f"{name}.pt")


def run_all(folder: Path, cases, tokenizer_folder: Path):
    """Each case is a name and the arguments of `run`, with folders as text."""
    tokenizer = Tokenizer.load(tokenizer_folder)
    for name, (config, places, core) in cases.items():
        keep(folder, name, run(settings(**config), tokenizer, **places, **core))


class Watched(Checkpoint):
    """A checkpoint that says what it finds when the first process finishes it."""

    def write(self, folder, weights):
        place = folder.with_name("good")
        parts = len(list((folder / "shards").glob("*.safetensors")))
        self.values["seen"] = [parts, place.exists()]
        super().write(folder, weights)


class Failing(Checkpoint):
    """A checkpoint for which there is no room."""

    def write(self, folder, weights):
        raise DiskError(Text("full", "满"), Text("free some", "清理"))


def write_in_background(folder: Path, tokenizer_folder: Path):
    """One checkpoint whose tensors change right after it was begun, then one that cannot be finished."""
    tokenizer = Tokenizer.load(tokenizer_folder)
    torch.manual_seed(0)
    model = Decoder(CoreConfig(vocab_size=tokenizer.vocab_size, **CORE))
    distribute(Learner(model), "shard", CPU)
    writer, values = BackgroundWriter(), {}
    writer.save(folder / "good", Watched(model, tokenizer, {}, values, {}, {}))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    writer.save(folder / "bad", Failing(model, tokenizer, {}, {}, {}, {}))  # which waits for the one before
    try:
        writer.wait()
        told = "nothing"
    except DiskError as error:
        told = error.problem.en
    told = gathered(told)
    if rank() == 0:
        (folder / "seen.json").write_text(json.dumps({"seen": values["seen"], "told": told}))
    hold_share(folder)


def hold_share(folder: Path):
    """Bytes of weights, gradients and optimizer state in each process, replicated and divided."""
    held = {}
    for distribution in ("replicate", "shard"):
        torch.manual_seed(0)
        model = Decoder(CoreConfig(vocab_size=64, **CORE))
        learner = Learner(model)
        distribute(learner, distribution, CPU)
        config = settings(distribution=distribution, optimizer="adamw")
        optimizers = build_optimizers(model, config)
        part = mixture(config, 64).parts[0]
        training_step(
            learner,
            part.objective,
            optimizers,
            next(part.train.stream(0)),
            CPU,
            micro_rows=2,
            clip=1.0,
            on_nonfinite="stop",
        )
        tensors = [*model.parameters(), *optimizer_tensors(model, optimizers).values()]
        held[distribution] = gathered(sum(own_part(tensor.detach()).nbytes for tensor in tensors))
    if rank() == 0:
        (folder / "held.json").write_text(json.dumps(held))
