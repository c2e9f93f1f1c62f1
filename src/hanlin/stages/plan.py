"""`hanlin plan`: what a recipe will take on this machine, before anything is trained."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
import psutil
import torch

from hanlin.base.device import choose_compute, measure_peak_flops
from hanlin.base.errors import CheckpointError, ConfigError
from hanlin.base.language import Text
from hanlin.base.memory import memory_errors
from hanlin.base.records import Split
from hanlin.batches.store import Ids, TokenStore
from hanlin.model import count
from hanlin.model.config import CoreConfig
from hanlin.stages.checks import check_trainable
from hanlin.stages.objectives import build_mixture, epoch_rows
from hanlin.stages.plan_memory import process_memory
from hanlin.stages.pretrain import model_config, run_tokens
from hanlin.stages.recipe import Recipe
from hanlin.tokenizer.special import SpecialIds
from hanlin.trainer.config import PretrainConfig
from hanlin.trainer.trial import run_trial


@dataclass(frozen=True)
class Plan:
    """Sizes in bytes, times in seconds. `epochs` is None while the corpus is not encoded yet.

    Memory is that of one process, and of `machine_bytes` what a process may take. Time is that of computing: what
    several processes tell each other comes on top.
    """

    device: str
    processes: int
    parameters: int
    training_tokens: int
    epochs: float | None
    flops_per_token: int
    cache_bytes_per_token: int
    step_seconds: float
    training_seconds: float
    tokens_per_second: float
    peak_share: float
    memory_bytes: int
    memory_parts: dict[str, int]
    machine_bytes: int

    @property
    def fits(self) -> bool:
        """Whether the memory is enough."""
        return self.memory_bytes < self.machine_bytes


def make_plan(recipe: Recipe, processes: int = 1) -> Plan:
    """Count what can be counted, and measure three real steps for the rest.

    Processes share the memory and the cores of this machine, or have a GPU each.

    Raises `ConfigError` when the weights with their gradients and optimizer state alone are larger than the memory.
    """
    check_trainable(recipe)
    recipe = _counted(recipe)
    config = recipe.pretrain
    compute = choose_compute(config.device, config.precision)
    store = _store(recipe)
    vocab_size = recipe.model.vocab_size or recipe.tokenizer.vocab_size
    core = (
        model_config(recipe, store) if store else recipe.model.model_copy(update={"vocab_size": vocab_size})
    )
    on_gpu = compute.device.type == "cuda"
    machine = (
        torch.cuda.get_device_properties(compute.device).total_memory
        if on_gpu
        else psutil.virtual_memory().total // processes
    )
    if processes == 1:
        _require_room(core, config, machine)
    peak = measure_peak_flops(compute)
    with torch.random.fork_rng(), memory_errors():
        planned, special = recipe.model_copy(update={"model": core}), recipe.tokenizer.special.ids()
        mixture = build_mixture(
            planned, RandomTokens(core.vocab_size, core.window, special), ("train", "train"), ranks=processes
        )
        trial = run_trial(core, mixture, config, compute)
    step_tokens = config.batch_rows * core.window
    flops = count.training_flops_per_token(core, core.window)
    step_seconds = trial.step_seconds * (1 if on_gpu else processes)
    parts = process_memory(trial, core, config.distribution, processes)
    return Plan(
        device=compute.describe(),
        processes=processes,
        parameters=count.parameters(core),
        training_tokens=config.steps * step_tokens,
        epochs=config.steps * step_tokens / len(store.tokens("train")) if store else None,
        flops_per_token=flops,
        cache_bytes_per_token=count.cache_bytes_per_token(core),
        step_seconds=step_seconds,
        training_seconds=config.steps * step_seconds,
        tokens_per_second=step_tokens / step_seconds,
        peak_share=step_tokens * flops / step_seconds / (peak * (processes if on_gpu else 1)),
        memory_bytes=sum(parts.values()),
        memory_parts=parts,
        machine_bytes=machine,
    )


def plan_lines(plan: Plan) -> list[str]:
    """The plan for people."""
    mib = 2**20
    epochs = "?" if plan.epochs is None else f"{plan.epochs:.2f}"
    parts = ", ".join(f"{name} {size / mib:,.0f}" for name, size in plan.memory_parts.items())
    lines = [
        Text(f"device      {plan.device}", f"设备    {plan.device}"),
        Text(f"parameters  {plan.parameters:,}", f"参数量  {plan.parameters:,}"),
        Text(f"tokens      {plan.training_tokens:,} ({epochs} passes over the text)", f"词元    {plan.training_tokens:,}（文本过 {epochs} 遍）"),
        Text(f"memory      {plan.memory_bytes / mib:,.0f} of {plan.machine_bytes / mib:,.0f} MiB ({parts})", f"内存    {plan.memory_bytes / mib:,.0f} / {plan.machine_bytes / mib:,.0f} MiB（{parts}）"),
        Text(
            f"time        {plan.training_seconds / 60:.1f} min of training ({plan.tokens_per_second:,.0f} tokens/s, "
            f"{plan.peak_share:.0%} of this machine's matrix speed); validation and saving come on top",
            f"时间    训练约 {plan.training_seconds / 60:.1f} 分钟（{plan.tokens_per_second:,.0f} 词元/秒，为本机矩阵速度的 {plan.peak_share:.0%}）；验证与保存另计",
        ),
    ]  # fmt: skip
    if plan.processes > 1:
        lines.insert(
            1,
            Text(
                f"processes   {plan.processes}; memory is that of each, time without what they tell each other",
                f"进程    {plan.processes} 个；内存按每个进程计，时间不含进程间通信",
            ),
        )
    if not plan.fits:
        lines.append(
            Text(
                "This does not fit: lower pretrain.micro_rows or the size of the model.",
                "内存不足：请减小 pretrain.micro_rows 或模型规模。",
            )
        )
    return [str(line) for line in lines]


def plan_values(plan: Plan) -> dict[str, object]:
    """The plan as JSON."""
    return {**asdict(plan), "fits": plan.fits}


def _require_room(core: CoreConfig, config: PretrainConfig, machine: int) -> None:
    """The least that training holds, in float32: weight, gradient, one value of Muon or momentum, two of Adam and its
    kin, and a moving average; and for the backward pass what goes into attention and feed-forward layer of each block, for each token of a micro-batch.
    """
    kept = 1 if config.optimizer == "muon" else bool(config.momentum) if config.optimizer == "sgd" else 2
    states = 4 * count.parameters(core) * (2 + kept + (config.ema is not None))
    rows = min(config.rows_at_once, config.batch_rows)
    activations = 4 * 2 * core.layers * core.width * core.window * rows
    least = states + activations
    if least < machine:
        return
    gib = 2**30
    raise ConfigError(
        Text(
            f"{count.parameters(core):,} parameters with {rows:,} rows of {core.window:,} tokens at a time "
            f"need at least {least / gib:,.1f} GiB to train; there are {machine / gib:,.1f} GiB.",
            f"训练 {count.parameters(core):,} 个参数、每次 {rows:,} 行、每行 {core.window:,} 个词元，"
            f"至少需要 {least / gib:,.1f} GiB 内存，这里只有 {machine / gib:,.1f} GiB。",
        ),
        Text(
            "Lower pretrain.micro_rows or model.window."
            if activations > states
            else "Lower model.width, model.layers or the vocabulary.",
            "请减小 pretrain.micro_rows 或 model.window。"
            if activations > states
            else "请减小 model.width、model.layers 或词表。",
        ),
    )


def _counted(recipe: Recipe) -> Recipe:
    """The recipe with epochs as steps and a full batch as rows, for which the corpus is encoded if it is not yet."""
    if recipe.pretrain.epochs is None and recipe.pretrain.batch == "rows":
        return recipe
    rows = epoch_rows(build_mixture(recipe, run_tokens(recipe)))
    return recipe.model_copy(update={"pretrain": recipe.pretrain.for_rows(rows)})


def _store(recipe: Recipe) -> TokenStore | None:
    try:
        return TokenStore(recipe.places.tokens)
    except CheckpointError:
        return None


class RandomTokens:
    """Documents of half a window, so that the path for several documents a row is the one measured."""

    def __init__(self, vocab_size: int, window: int, special: SpecialIds) -> None:
        self.vocab_size, self.begin_id = vocab_size, special.end
        self._first, self._length = len(special.all), max(1, window // 2)
        self._begins = np.arange(0, 64 * window + 1, self._length)

    def tokens(self, split: Split, sources: Sequence[str] = ()) -> Ids:
        """Enough random ids for a few rows."""
        size = int(self._begins[-1]) + 1
        ids = np.random.default_rng(0).integers(self._first, self.vocab_size, size).astype(np.uint32)
        ids[self._begins] = self.begin_id
        return ids

    def sentence_starts(self, split: Split, sources: Sequence[str] = ()) -> npt.NDArray[np.int64]:
        """About four sentences a document."""
        steps = np.arange(1, self._length, max(1, self._length // 4))
        return (self._begins[:-1, None] + steps).ravel()
