"""Settings of training: of any run, and of the `pretrain:` section of a recipe."""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from hanlin.base.config import Settings
from hanlin.base.device import DeviceName, PrecisionName
from hanlin.base.errors import ConfigError
from hanlin.base.language import Text
from hanlin.objective.config import ObjectiveConfig, ObjectiveName

Distribution = Literal["replicate", "shard"]

Average = Annotated[float, Field(ge=0, lt=1)]

OptimizerName = Literal["muon", "adamw", "adam", "sgd", "schedule-free"]
ScheduleName = Literal["cosine", "linear", "warmup-stable-decay", "inverse-sqrt", "constant"]

_OWN_DEFAULTS: dict[str, dict[str, Any]] = {
    "adam": {"betas": (0.9, 0.999), "weight_decay": 0.0},
    "sgd": {"learning_rate": 0.1, "momentum": 0.0, "weight_decay": 0.0},
    "schedule-free": {"schedule": "constant"},
}
"""Settings whose default depends on the optimizer."""

_NEEDS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "muon_learning_rate": ("optimizer", ("muon",)),
    "momentum": ("optimizer", ("muon", "sgd")),
    "betas": ("optimizer", ("muon", "adamw", "adam", "schedule-free")),
    "decay_share": ("schedule", ("warmup-stable-decay",)),
    "final_share": ("schedule", ("cosine", "linear", "warmup-stable-decay")),
    "batch_rows": ("batch", ("rows",)),
}
"""Settings that do something only beside certain values of another one."""

_ROWS_AT_ONCE = 16
"""Rows in one forward pass of a full batch, unless `micro_rows` says another number."""


class ParameterGroup(Settings):
    """Parameters that learn in another way than the rest."""

    match: str = Field(min_length=1)
    """Shell pattern of parameter names: `blocks.0.*`."""
    rate: float = Field(1.0, gt=0)
    """Factor on their learning rate; to leave them as they are, see `frozen`."""
    decay: float | None = Field(None, ge=0)
    """Their weight decay; default: as without the group."""

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if self.rate == 1 and self.decay is None:
            raise ValueError(f"the group {self.match!r} changes nothing; give it a rate or a decay")
        return self


class CheckpointAverage(Settings):
    """The mean of the weights of several checkpoints, as a model of its own."""

    checkpoints: int = Field(ge=2)
    """How many."""
    of: Literal["last", "best"] = "last"
    """The newest, or those best by `metric`."""


class TrainingConfig(Settings):
    """How long, with what batches, which optimizer, how often to look, and what to do when it goes wrong.

    Change one with `model_copy(update=...)`; a setting that would do nothing is an error when it is first read.
    """

    steps: int = Field(1000, ge=1)
    """Optimizer steps."""
    epochs: float | None = Field(None, gt=0)
    """Passes over the rows of the training split, in place of `steps`."""
    batch: Literal["rows", "full"] = "rows"
    """Whether a step takes `batch_rows` rows, or all of the training split (gradient descent in its first sense)."""
    batch_rows: int = Field(16, ge=1)
    """Rows in one optimizer step."""
    micro_rows: int | None = Field(None, ge=1)
    """Rows in one forward pass; fewer take less memory and give the same gradient. Default: batch_rows."""
    optimizer: OptimizerName = "muon"
    """Muon for the matrices of the blocks and AdamW for the rest, or one of the others for all."""
    learning_rate: float = Field(3e-3, gt=0)
    """Peak learning rate of all that Muon does not update. Default of sgd: 0.1."""
    muon_learning_rate: float = Field(5e-3, gt=0)
    """Peak learning rate of Muon, whose updates have the root mean square of AdamW's."""
    weight_decay: float = Field(0.1, ge=0)
    """Decay of the matrices of the blocks, apart from the gradient or, with sgd and adam (default there: 0), part of it."""
    betas: tuple[Average, Average] = (0.9, 0.95)
    """Adam's averages of gradient and squared gradient. Default of adam: 0.9, 0.999."""
    momentum: float = Field(0.95, ge=0, lt=1)
    """Momentum of Muon, or of sgd (default there: 0)."""
    groups: tuple[ParameterGroup, ...] = ()
    """Parameters with another rate or decay; of several that match the first holds."""
    layer_decay: float | None = Field(None, gt=0, lt=1)
    """Factor on the learning rate from each block to the one before it, for fine-tuning. Default: none."""
    frozen: tuple[str, ...] = ()
    """Shell patterns of the names of parameters that stay as they are."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of each target's probability given to all tokens alike, while training."""
    clip: float | None = Field(1.0, gt=0)
    """Largest norm of the whole gradient; null: no limit."""
    schedule: ScheduleName = "cosine"
    """How the learning rate goes after the warm-up. schedule-free: constant."""
    warmup: int = Field(50, ge=0)
    """Steps of linear warm-up."""
    decay_share: float = Field(0.3, gt=0, le=1)
    """warmup-stable-decay: the last share of all steps, in which the rate falls."""
    final_share: float = Field(0.05, ge=0, le=1)
    """The share of the peak rate at which cosine and decay end."""
    ema: float | None = Field(None, gt=0, lt=1)
    """Decay of an exponential moving average of the weights; default: none is kept."""
    ema_use: Literal["both", "validation", "model"] = "both"
    """Where that average stands in for the weights: in validation, in the saved model, or both."""
    average: CheckpointAverage | None = None
    """Checkpoints to keep and average at the end, as a model folder `average/` beside the best one."""
    evaluate_every: int = Field(100, ge=1)
    """Steps between validations."""
    validation_rows: int = Field(128, ge=1)
    """Rows of the validation split that are looked at each time."""
    metric: str = Field("valid_loss", min_length=1)
    """The logged metric by which the best checkpoint is chosen."""
    better: Literal["lower", "higher"] = "lower"
    """Whether lower or higher values of `metric` are better."""
    save_every: int = Field(100, ge=1)
    """Steps between checkpoints."""
    log_every: int = Field(10, ge=1)
    """Steps between lines of metrics."""
    patience: int | None = Field(None, ge=1)
    """Stop after so many validations without a new best; default: never."""
    on_nonfinite: Literal["stop", "skip"] = "stop"
    """When loss or gradient is not finite: stop before the update, or leave that update out and count it."""
    on_spike: Literal["warn", "skip", "stop"] = "warn"
    """When the loss jumps: say so, leave that update out too, or stop before it."""
    spike_deviations: float = Field(8.0, gt=0)
    """Robust deviations above the median of the last losses at which a loss is a spike."""
    spike_window: int = Field(64, ge=16)
    """Losses that spikes and divergence are judged by."""
    on_divergence: Literal["stop", "warn"] = "stop"
    """When the loss has for long been far above where it was: stop, keeping what was saved before, or say so."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Seed of weights, order and dropout."""
    device: DeviceName = "auto"
    """Where to train."""
    precision: PrecisionName = "auto"
    """Format of matrix products; weights stay float32."""
    compile: Literal["auto", "always", "never"] = "auto"
    """Whether training passes run through torch.compile. auto: on a GPU, in runs long enough to repay it; not on CPUs,
    where it was measured to gain nothing (docs/performance.md)."""
    activation_checkpointing: bool = False
    """Whether blocks compute their activations anew in the backward pass: less memory for a third more time."""
    distribution: Distribution = "replicate"
    """Of several processes: whether each holds all weights and optimizer state, or its part of them."""
    tensorboard: bool = False
    """Whether to write TensorBoard files beside metrics.jsonl."""

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_optimizer(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {**_OWN_DEFAULTS.get(str(values.get("optimizer")), {}), **values}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.epochs is not None and "steps" in self.model_fields_set:
            raise ValueError("steps and epochs both say how long to train; give one of them")
        if self.batch == "rows" and self.micro_rows is not None and self.micro_rows > self.batch_rows:
            raise ValueError(f"micro_rows {self.micro_rows} is larger than batch_rows {self.batch_rows}")
        if self.epochs is None and self.warmup >= self.steps:
            raise ValueError(f"warmup {self.warmup} leaves none of the {self.steps} steps at full rate")
        if self.schedule == "inverse-sqrt" and not self.warmup:
            raise ValueError(
                "schedule inverse-sqrt has its peak at the end of the warm-up; set warmup to 1 or more"
            )
        if self.optimizer == "schedule-free" and self.schedule != "constant":
            raise ValueError("optimizer schedule-free averages in place of a schedule; leave schedule out")
        if self.optimizer == "schedule-free" and self.betas[0] == 0:
            raise ValueError("optimizer schedule-free needs a first beta above 0")
        if self.optimizer == "schedule-free" and self.ema is not None:
            raise ValueError(
                "optimizer schedule-free averages by itself; leave ema out, or choose another optimizer"
            )
        return self

    @model_validator(mode="after")
    def _all_does_something(self) -> Self:
        for setting, (other, fitting) in _NEEDS.items():
            defaults = [type(self).model_fields[setting].default]
            defaults += [own[setting] for own in _OWN_DEFAULTS.values() if setting in own]
            chosen = getattr(self, other)
            if chosen not in fitting and getattr(self, setting) not in defaults:
                names = ", ".join(fitting)
                raise ValueError(
                    f"{setting} does nothing with {other} {chosen}; it goes with {other} {names}"
                )
        if self.ema is None and self.ema_use != "both":
            raise ValueError("ema_use does nothing without ema, such as ema: 0.999")
        return self

    @property
    def rows_at_once(self) -> int:
        """Rows in one forward pass."""
        return self.micro_rows or (self.batch_rows if self.batch == "rows" else _ROWS_AT_ONCE)

    @property
    def batch_kind(self) -> str:
        """What one step learns from: the three kinds of gradient descent."""
        if self.batch == "full":
            return "full batch"
        return "single sample" if self.batch_rows == 1 else f"mini-batch of {self.batch_rows} rows"

    def for_rows(self, rows: int) -> Self:
        """The settings for a training split of `rows` rows: `batch` and `epochs` become rows and steps.

        Raises `ConfigError` if the warm-up then leaves no step at the full rate.
        """
        rows_of_step = rows if self.batch == "full" else self.batch_rows
        steps = self.steps if self.epochs is None else math.ceil(self.epochs * rows / rows_of_step - 1e-9)
        if self.warmup >= steps:
            raise ConfigError(
                Text(f"epochs {self.epochs:g} are {steps} steps here; warmup {self.warmup} leaves none at full rate.",
                     f"epochs {self.epochs:g} 在此为 {steps} 步；warmup {self.warmup} 之后没有剩下全学习率的步数。"),
                Text("Set a smaller warmup or more epochs.", "请减小 warmup 或增加 epochs。"),
            )  # fmt: skip
        return self.model_copy(
            update={
                "batch": "rows",
                "epochs": None,
                "batch_rows": rows_of_step,
                "steps": steps,
                "micro_rows": min(self.rows_at_once, rows_of_step),
            }
        )


class PretrainConfig(TrainingConfig):
    """What is learned from the corpus, and how."""

    objective: ObjectiveName | None = None
    """What the model predicts; default: what its head is for."""
    mixture: tuple[ObjectiveConfig, ...] = ()
    """Several objectives by weight, in place of one."""
    separate_documents: bool = True
    """Whether attention stays within a document and positions restart at each."""
    samples: tuple[str, ...] = ()
    """Beginnings that a causal model continues while it trains, for people to read."""
    sample_every: int | None = Field(None, ge=1)
    """Steps between samples, written with the next line of metrics; default: evaluate_every."""

    @model_validator(mode="after")
    def _one_or_several(self) -> "PretrainConfig":
        if self.objective is not None and self.mixture:
            raise ValueError(
                "objective and mixture exclude each other: give one objective, or several by weight"
            )
        if len(self.mixture) > 1 and (self.epochs is not None or self.batch == "full"):
            raise ValueError("epochs and a full batch are those of one corpus; with a mixture give steps")
        if self.sample_every is not None and not self.samples:
            raise ValueError("sample_every does nothing without samples: give some beginnings")
        return self
