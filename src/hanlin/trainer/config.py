"""Settings of training: of any run, and of the `pretrain:` section of a recipe."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from hanlin.base.config import Settings
from hanlin.base.device import DeviceName, PrecisionName
from hanlin.objective.config import ObjectiveConfig, ObjectiveName

Average = Annotated[float, Field(ge=0, lt=1)]


class TrainingConfig(Settings):
    """How long, with what batches, which optimizer, how often to look, and what to do when it goes wrong."""

    steps: int = Field(1000, ge=1)
    """Optimizer steps."""
    batch_rows: int = Field(16, ge=1)
    """Rows in one optimizer step."""
    micro_rows: int | None = Field(None, ge=1)
    """Rows in one forward pass; fewer take less memory and give the same gradient. Default: batch_rows."""
    optimizer: Literal["muon", "adamw"] = "muon"
    """Muon for the matrices of the blocks and AdamW for the rest, or AdamW for all."""
    learning_rate: float = Field(3e-3, gt=0)
    """Peak learning rate of AdamW."""
    muon_learning_rate: float = Field(5e-3, gt=0)
    """Peak learning rate of Muon, whose updates have the root mean square of AdamW's."""
    weight_decay: float = Field(0.1, ge=0)
    """Decoupled decay of matrices; embeddings, norms and biases have none."""
    betas: tuple[Average, Average] = (0.9, 0.95)
    """AdamW's averages of gradient and squared gradient."""
    momentum: float = Field(0.95, ge=0, lt=1)
    """Muon's momentum."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of each target's probability given to all tokens alike, while training."""
    clip: float = Field(1.0, gt=0)
    """Largest norm of the whole gradient."""
    schedule: Literal["cosine", "linear", "warmup-stable-decay", "constant"] = "cosine"
    """How the learning rate goes after the warm-up."""
    warmup: int = Field(50, ge=0)
    """Steps of linear warm-up."""
    decay_share: float = Field(0.3, gt=0, le=1)
    """warmup-stable-decay: the last share of all steps, in which the rate falls."""
    final_share: float = Field(0.05, ge=0, le=1)
    """The share of the peak rate at which cosine and decay end."""
    evaluate_every: int = Field(100, ge=1)
    """Steps between validations."""
    validation_rows: int = Field(128, ge=1)
    """Rows of the validation split that are looked at each time."""
    save_every: int = Field(100, ge=1)
    """Steps between checkpoints."""
    log_every: int = Field(10, ge=1)
    """Steps between lines of metrics."""
    patience: int | None = Field(None, ge=1)
    """Stop after so many validations without a new best; default: never."""
    on_nonfinite: Literal["stop", "skip"] = "stop"
    """When loss or gradient is not finite: stop before the update, or leave that update out and count it."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Seed of weights, order and dropout."""
    device: DeviceName = "auto"
    """Where to train."""
    precision: PrecisionName = "auto"
    """Format of matrix products; weights stay float32."""
    tensorboard: bool = False
    """Whether to write TensorBoard files beside metrics.jsonl."""

    @model_validator(mode="after")
    def _consistent(self) -> "TrainingConfig":
        if self.micro_rows is not None and self.micro_rows > self.batch_rows:
            raise ValueError(f"micro_rows {self.micro_rows} is larger than batch_rows {self.batch_rows}")
        if self.warmup >= self.steps:
            raise ValueError(f"warmup {self.warmup} leaves none of the {self.steps} steps at full rate")
        return self


class PretrainConfig(TrainingConfig):
    """What is learned from the corpus, and how."""

    objective: ObjectiveName | None = None
    """What the model predicts; default: what its head is for."""
    mixture: tuple[ObjectiveConfig, ...] = ()
    """Several objectives by weight, in place of one."""
    separate_documents: bool = True
    """Whether attention stays within a document and positions restart at each."""

    @model_validator(mode="after")
    def _one_or_several(self) -> "PretrainConfig":
        if self.objective is not None and self.mixture:
            raise ValueError(
                "objective and mixture exclude each other: give one objective, or several by weight"
            )
        return self
