"""One rung of the ladder: train it under the budget, examine and probe it."""

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import nn

from hanlin.base.device import Compute, choose_compute, measure_peak_flops
from hanlin.base.interrupt import Interrupted
from hanlin.base.language import Text
from hanlin.base.memory import PeakMemory, memory_errors, release_freed_memory, used_bytes
from hanlin.base.progress import console
from hanlin.base.seeds import seed_everything
from hanlin.base.sinks import Metrics
from hanlin.batches.loader import Rows
from hanlin.batches.store import TokenStore
from hanlin.evaluate import recall
from hanlin.evaluate.examine import figures_of, train_ngram
from hanlin.evaluate.gradients import gradient_by_distance
from hanlin.evaluate.ladder import Cost, DocumentScores, Rung, RungName
from hanlin.evaluate.perplexity import HeldOut, Scorer, score, uniform
from hanlin.evaluate.scorers import decoder_scorer, ngram_scorer
from hanlin.objective.causal import Causal
from hanlin.objective.mixture import Mixture, Part
from hanlin.stages.networks import Network, NetworkConfig, build_network, count_parameters, network_config
from hanlin.stages.objectives import build_mixture
from hanlin.stages.pretrain import model_config
from hanlin.stages.recipe import Recipe
from hanlin.trainer.config import PretrainConfig
from hanlin.trainer.learner import Learner
from hanlin.trainer.loop import train
from hanlin.trainer.optimizer import build_optimizers
from hanlin.trainer.state import TrainState
from hanlin.trainer.step import training_step

RECALL_ROWS_EXAMINED = 32
"""Rows of the recall task that are examined at each distance."""
_TIMED_STEPS = 3


@dataclass
class Climb:
    """What all rungs of one ladder share."""

    recipe: Recipe
    store: TokenStore
    held_out: list[HeldOut]
    compute: Compute = field(init=False)

    def __post_init__(self) -> None:
        pretrain = self.recipe.pretrain
        self.compute = choose_compute(pretrain.device, pretrain.precision)
        self.core = model_config(self.recipe, self.store)
        self.peak_flops = measure_peak_flops(self.compute)

    def settings(self, name: RungName) -> dict[str, Any]:
        """The settings of a rung's model, as JSON."""
        if name == "uniform":
            return {"vocab_size": self.store.vocab_size}
        if name == "n-gram":
            order, most = self.recipe.evaluate.ngram_order, self._ngram_tokens
            return {"vocab_size": self.store.vocab_size, "order": order, "most_tokens": most}
        return network_config(name, self.core, self.recipe.ladder).model_dump(mode="json")

    def rung(self, name: RungName) -> Rung:
        """Train and examine one rung; raises `Interrupted` after Ctrl-C, with nothing of this rung kept."""
        if name == "uniform":
            return self._examined(name, uniform(self.store.vocab_size), parameters=0, tokens=0, cost=Cost())
        return self._ngram() if name == "n-gram" else self._network(name)

    @property
    def _ngram_tokens(self) -> int:
        """Under a budget of tokens the n-gram model counts no more; more than one pass would teach it nothing."""
        most = self.recipe.evaluate.ngram_max_tokens
        return min(most, self.recipe.ladder.tokens or most)

    def _ngram(self) -> Rung:
        config, ladder = self.recipe.evaluate, self.recipe.ladder
        counting = config.model_copy(update={"ngram_max_tokens": self._ngram_tokens})
        with _measured(torch.device("cpu")) as cost:
            trained = train_ngram(
                self.store.documents("train"), self.store.vocab_size, self.store.begin_id, counting
            )
        return self._examined(
            "n-gram",
            ngram_scorer(trained.model),
            parameters=sum(len(level.key_G) for level in trained.model.levels),
            tokens=trained.model.tokens,
            cost=cost.cost,
            recall=recall.recall_of_ngram(
                self._recall_rows(), config.ngram_order, ladder.recall_steps * ladder.recall_rows, RECALL_ROWS_EXAMINED
            ),
        )  # fmt: skip

    def _network(self, name: RungName) -> Rung:
        config = network_config(name, self.core, self.recipe.ladder)
        (part,) = build_mixture(self.recipe, self.store).parts
        rows, valid = part.train, part.held_out
        steps = self._steps(config, rows)
        losses = _Losses()
        with _measured(self.compute.device) as cost:
            model = self._trained(config, rows, valid, steps, name, losses)
        return self._examined(
            name,
            decoder_scorer(model.eval(), self.compute, self.store.begin_id),
            parameters=count_parameters(config),
            tokens=steps * self.recipe.pretrain.batch_rows * self.core.window,
            cost=cost.cost,
            losses=tuple(losses.points),
            gradient=self._gradient(model),
            recall=self._recall(config, name),
        )

    def _steps(self, config: NetworkConfig, rows: Rows) -> int:
        """Optimizer steps that the budget allows: counted for tokens, from the time of a few real ones for seconds.

        The few steps are made in any case: what torch loads once is then loaded, and not taken for the memory of a rung.
        """
        pretrain, ladder = self.recipe.pretrain, self.recipe.ladder
        model = build_network(config).to(self.compute.device)
        optimizers = build_optimizers(model, pretrain)
        seconds = []
        for batch in islice(rows.stream(0), 1 + _TIMED_STEPS):
            start = time.perf_counter()
            training_step(
                Learner(model),
                Causal(),
                optimizers,
                batch,
                self.compute,
                micro_rows=pretrain.rows_at_once,
                clip=pretrain.clip,
                on_nonfinite="skip",
            )
            seconds.append(time.perf_counter() - start)
        if ladder.tokens is not None:
            return max(2, math.ceil(ladder.tokens / (pretrain.batch_rows * self.core.window)))
        assert ladder.seconds is not None
        return max(2, round(ladder.seconds / float(np.median(seconds[1:]))))

    def _trained(
        self, config: NetworkConfig, rows: Rows, valid: Rows, steps: int, title: str, losses: "_Losses"
    ) -> Network:
        """A new network after `steps` steps of the recipe's way of training, in the one training loop."""
        pretrain = self.recipe.pretrain
        seed_everything(pretrain.seed)
        model = build_network(config).to(self.compute.device)
        once = {
            "evaluate_every": steps,
            "save_every": steps,
            "patience": None,
            "log_every": max(1, steps // 50),
            "metric": "valid_loss",
            "epochs": None,
            "batch": "rows",
        }
        warmup = min(pretrain.warmup, steps // 5)
        settings = PretrainConfig(**{**pretrain.model_dump(), **once, "steps": steps, "warmup": warmup})
        state = TrainState(model, build_optimizers(model, settings))
        with memory_errors():
            ending = train(
                state,
                Mixture([Part(title, Causal(settings.label_smoothing), rows, valid)]),
                settings,
                self.compute,
                save=lambda state: None,
                sinks=[losses],
                # Six operations a parameter and token: arXiv 2001.08361, section 2.1.
                peak_rate=self.peak_flops / (6 * count_parameters(config)),
                title=title,
            )
        if ending == "interrupted":
            console.print(
                str(
                    Text(
                        f"Stopped; rung '{title}' is not finished and begins anew next time. Finished rungs are kept.",
                        f"已停止；“{title}”尚未完成，下次将重新开始。已完成的各级都还在。",
                    )
                )
            )
            raise Interrupted
        model.load_state_dict(state.examined(average=settings.ema_use != "validation"), strict=False)
        return model

    def _recall_rows(self) -> recall.RecallRows:
        ladder = self.recipe.ladder
        return recall.RecallRows(ladder.recall_distances, ladder.recall_rows, self.recipe.pretrain.seed)

    def _recall(self, config: NetworkConfig, name: RungName) -> list[float]:
        """Recall of a new network of the same kind and widths, taught nothing but the task."""
        source = self._recall_rows()
        small = config.model_copy(update={"vocab_size": recall.VOCAB_SIZE, "window": source.length})
        model = self._trained(
            small, source, source, self.recipe.ladder.recall_steps, f"{name} (recall)", _Losses()
        )
        return recall.recall_of_network(model, source, RECALL_ROWS_EXAMINED, self.compute)

    def _gradient(self, model: nn.Module) -> list[float]:
        """The gradient by distance, over pieces of held-out documents that are long enough."""
        ladder, split = self.recipe.ladder, self.recipe.evaluate.split
        length = min(ladder.gradient_distance, self.core.window)
        pieces = [
            np.asarray(ids[start : start + length + 1], np.int64)
            for ids in self.store.documents(split)
            for start in range(0, len(ids) - length, length)
        ]
        if not pieces:
            return []
        chosen = np.random.default_rng(self.recipe.evaluate.seed).permutation(len(pieces))[
            : ladder.gradient_rows
        ]
        tokens_NT = torch.from_numpy(np.stack([pieces[index] for index in chosen])).to(self.compute.device)
        return gradient_by_distance(model, tokens_NT[:, :-1], tokens_NT[:, -1]).tolist()  # type: ignore[no-any-return]

    def _examined(self, name: RungName, scorer: Scorer, **found: Any) -> Rung:
        """Score the held-out documents."""
        start = time.perf_counter()
        scores = score(scorer, self.held_out, self.store.begin_id)
        figures = figures_of(scores, time.perf_counter() - start, self.recipe.evaluate)
        return Rung(
            name=name, settings=self.settings(name), figures=figures, scores=DocumentScores.of(scores), **found
        )  # fmt: skip


class _Losses:
    """A sink that keeps (tokens, mean training loss)."""

    def __init__(self) -> None:
        self.points: list[tuple[int, float]] = []

    def write(self, step: int, metrics: Metrics) -> None:
        """Keep one point."""
        self.points.append((int(metrics["tokens"]), float(metrics["loss"])))

    def close(self) -> None:
        """Nothing to finish."""


class _Measured:
    """Filled when the work is done."""

    cost = Cost()


@contextlib.contextmanager
def _measured(device: torch.device) -> Iterator[_Measured]:
    """Wall time, CPU time and peak memory of what is done within."""
    release_freed_memory()
    measured, held = _Measured(), used_bytes(device)
    start, cpu_start = time.perf_counter(), time.process_time()
    with PeakMemory(device) as memory:
        yield measured
    measured.cost = Cost(
        seconds=time.perf_counter() - start,
        cpu_seconds=time.process_time() - cpu_start,
        peak_bytes=max(0, memory.peak - held),
    )
