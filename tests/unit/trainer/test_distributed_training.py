"""One process, two and four give the same curve: from the start, and from each other's checkpoints.

Every process is a real one and takes seconds to start, so that each test asks much of the few that it starts.
"""

import json
from functools import partial

import pytest
import torch

from hanlin.base.errors import CheckpointError, ConfigError
from hanlin.batches.loader import Loader
from hanlin.checkpoint.folder import open_model
from hanlin.checkpoint.sharded import read_sharded_weights
from hanlin.checkpoint.tensor_files import is_sharded
from hanlin.model.config import CoreConfig
from hanlin.model.count import parameters
from hanlin.model.decoder import Decoder
from hanlin.stages.launch import launch
from hanlin.stages.plan_memory import process_memory
from hanlin.tokenizer.bpe import save_trained, train_bpe
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.tokenizer import Tokenizer
from hanlin.trainer.trial import Trial
from tiny import CPU
from training_processes import (
    CORE,
    STEPS,
    kept,
    run,
    run_all,
    settings,
    write_in_background,
)

TOLERANCE = 1e-4
"""Relative, of losses and gradient norms over all steps in float32; sums over processes are in another order."""


def make_tokenizer(folder):
    save_trained(train_bpe(["the academy of letters"] * 4, TokenizerConfig(vocab_size=272)), folder)
    return Tokenizer.load(folder)


def same_curve(one, other, since=0):
    assert list(other) == [step for step in one if step > since]
    for step, line in other.items():
        assert line.keys() == one[step].keys()
        for name in {"loss", "gradient_norm", "valid_loss", "tokens"} & line.keys():
            assert line[name] == pytest.approx(one[step][name], rel=TOLERANCE), (step, name)


def same_weights(one, other):
    for name in one:
        torch.testing.assert_close(other[name], one[name], atol=2e-5, rtol=1e-3)


def test_processes_and_their_checkpoints_continue_one_curve(tmp_path):
    tokenizer = make_tokenizer(tmp_path / "tok")
    shard, one, two = {"distribution": "shard"}, tmp_path / "one", tmp_path / "two"
    cases = {
        "muon": ({}, {}),
        "experts": ({"optimizer": "adamw", "ema": 0.9}, {"experts": 3, "experts_per_token": 1}),
    }
    alone = {
        name: run(settings(**config), tokenizer, one / name, **core) for name, (config, core) in cases.items()
    }
    assert alone["muon"][0][STEPS]["loss"] < alone["muon"][0][1]["loss"]  # it does learn
    muon, (adamw, experts), dropout = {}, cases["experts"], {"dropout": 0.2}
    both = {
        "muon replicated": (muon, {}, {}),
        "muon sharded": (shard, {"run_folder": two / "muon"}, {}),
        "muon from 1 to 2": (muon, {"start": one / "muon/step-10"}, {}),
        "experts sharded": (adamw | shard, {"run_folder": two / "experts"}, experts),
        "experts from shards to replicas": (adamw, {"start": two / "experts/step-10"}, experts),
        "dropout": (shard, {"run_folder": two / "dropout"}, dropout),
        "dropout again": (shard, {"start": two / "dropout/step-10"}, dropout),
    }
    launch(partial(run_all, tmp_path, both, tmp_path / "tok"), 2)
    for name in list(both)[:5]:
        lines, weights = kept(tmp_path, name)
        same_curve(alone[name.split()[0]][0], lines, since=10 if "from" in name else 0)
        same_weights(alone[name.split()[0]][1], weights)

    # What two processes wrote opens like any model, and goes on in one process and in four.
    assert is_sharded(two / "muon/step-20")
    model, _, _ = open_model(two / "muon/step-20", CPU)
    same_weights(alone["muon"][1], dict(model.named_parameters()))
    lines, weights = run(settings(**adamw), tokenizer, start=two / "experts/step-10", **experts)
    same_curve(alone["experts"][0], lines, since=10)
    same_weights(alone["experts"][1], weights)
    four = {"muon from 2 to 4": (shard, {"start": two / "muon/step-10"}, {})}
    launch(partial(run_all, tmp_path, four, tmp_path / "tok"), 4)
    lines, weights = kept(tmp_path, "muon from 2 to 4")
    same_curve(alone["muon"][0], lines, since=10)
    same_weights(alone["muon"][1], weights)

    # Processes drop out different values, and each goes on with its own.
    state = json.loads((two / "dropout/step-10/resume/state.json").read_text())
    assert state["random"]["torch"] != state["random_of_others"][0]["torch"]
    lines, _ = kept(tmp_path, "dropout")
    again, _ = kept(tmp_path, "dropout again")
    assert {step: line["loss"] for step, line in again.items()} == {
        step: line["loss"] for step, line in lines.items() if step > 10
    }


def test_a_checkpoint_is_written_behind_the_training_and_appears_whole_or_not_at_all(tmp_path):
    tokenizer = make_tokenizer(tmp_path / "tok")
    launch(partial(write_in_background, tmp_path, tmp_path / "tok"), 2)
    report = json.loads((tmp_path / "seen.json").read_text())
    assert report["seen"] == [2, False]  # both parts, under another name
    torch.manual_seed(0)
    expected = Decoder(CoreConfig(vocab_size=tokenizer.vocab_size, **CORE))
    model, _, _ = open_model(tmp_path / "good", CPU)
    for before, read in zip(expected.parameters(), model.parameters(), strict=True):
        assert torch.equal(before, read)  # as they were when it was begun, though they changed at once

    assert report["told"] == ["full", "nothing"]  # by the process whose part failed
    assert not (tmp_path / "bad").exists()
    assert not list(tmp_path.glob(".bad*"))

    other = Decoder(CoreConfig(vocab_size=33, **CORE))
    with pytest.raises(CheckpointError, match=r"should have shape \(33, 20\), there is \(272, 20\)"):
        read_sharded_weights(tmp_path / "good", other)

    # Divided, each process holds half of weights and optimizer state; counters of steps are held by each.
    held = json.loads((tmp_path / "held.json").read_text())
    first, second = held["replicate"]
    assert first == second
    assert sum(held["shard"]) == pytest.approx(first, rel=0.01)
    assert max(held["shard"]) == pytest.approx(first / 2, rel=0.05)


def test_rows_that_cannot_be_divided_among_processes_are_refused():
    with pytest.raises(ConfigError, match="7 rows cannot be divided among 2 processes"):
        Loader(range(10), rows=7, rank=1, ranks=2)


def test_the_plan_divides_what_processes_share():
    core = CoreConfig(vocab_size=1000, **CORE)
    trial = Trial(
        1.0, weight_bytes=4 * parameters(core), optimizer_bytes=600, process_bytes=50, peak_bytes=10**6
    )
    one = process_memory(trial, core, "shard", 1)
    assert sum(one.values()) == trial.peak_bytes
    divided, copied = (process_memory(trial, core, how, 2) for how in ("shard", "replicate"))
    for name in ("weights", "gradients", "optimizer"):
        assert divided[name] == one[name] // 2
        assert copied[name] == one[name]
    # What is gathered: two blocks, embedding and norm, with their gradients.
    block = sum(p.numel() for p in Decoder(core).blocks[0].parameters())
    assert divided["gathered"] == 2 * 4 * (1000 * 20 + 20 + 2 * block)
    held = (trial.weight_bytes + 600) // 2
    assert (divided["checkpoint"], copied["checkpoint"]) == (2 * held, 3 * held)
