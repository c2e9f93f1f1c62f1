"""`FinetuneRecipe`: what `hanlin finetune` needs to know."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from hanlin.base.config import Settings, read_settings, settings_from_overrides
from hanlin.model.adapters.config import LoraConfig, PromptConfig
from hanlin.records.config import DataConfig
from hanlin.stages.new_model import NewModel
from hanlin.tasks.kinds import AnyTask
from hanlin.trainer.config import TrainingConfig

USUAL_TRAINING: dict[str, Any] = {
    "epochs": 3,
    "optimizer": "adamw",
    "learning_rate": 2e-5,
    "weight_decay": 0.01,
    "betas": (0.9, 0.999),
    "schedule": "linear",
    "final_share": 0.0,
}
"""Of all methods that train every weight; arXiv 1810.04805, appendix A.3. Keys that a recipe gives replace these."""

ADAPTER_TRAINING: dict[str, Any] = {**USUAL_TRAINING, "learning_rate": 3e-4}
"""Of LoRA (arXiv 2106.09685, appendix D) ..."""

PROMPT_TRAINING: dict[str, Any] = {**USUAL_TRAINING, "learning_rate": 3e-2, "weight_decay": 0.0}
"""... and of soft prompts, whose few numbers bear and need far larger steps."""


class ExamineConfig(Settings):
    """How what was learned is examined."""

    resamples: int = Field(1000, ge=100)
    """Bootstrap resamples behind each interval."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Seed of the bootstrap."""
    robustness: bool = False
    """Whether the test records are examined misspelt, recased, rewritten ... too."""
    out_of_domain: tuple[Path, ...] = Field((), strict=False)
    """Files of the same task from elsewhere, examined beside the test records."""
    forgetting: bool = False
    """Whether plain texts are read by the model before and after, to see what it forgot of language."""
    baselines: bool = True
    """Whether simple models (the most frequent answer, TF-IDF with logistic regression) stand beside, where there are any."""


class PartConfig(Settings):
    """One task of several that are learned together on one body."""

    task: AnyTask
    data: DataConfig
    weight: float = Field(1.0, gt=0)
    """Share of the steps."""


class FinetuneRecipe(Settings):
    """One fine-tuning: a model, a task, its records."""

    folder: Path
    """Where it is written."""
    model: str = ""
    """A model folder, the folder of a run, a .gguf file, or a name."""
    new: NewModel | None = None
    """In place of `model`: one with random weights, and a tokenizer made from the training records."""
    task: AnyTask | None = None
    """What is learned, by which method."""
    data: DataConfig = DataConfig()
    """Its records."""
    tasks: dict[str, PartConfig] = Field(default_factory=dict)
    """Several tasks with their records, learned together, in place of `task` and `data`."""
    training: TrainingConfig = TrainingConfig.model_validate(USUAL_TRAINING)
    """How it is trained."""
    lora: LoraConfig = LoraConfig()
    """The adapter of method lora."""
    prompt: PromptConfig = PromptConfig()
    """The adapter of method prompt-tuning."""
    examine: ExamineConfig = ExamineConfig()
    """How it is examined."""

    @model_validator(mode="before")
    @classmethod
    def _training_of_the_method(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not isinstance(values.get("training", {}), dict):
            return values
        task = values.get("task")
        method = task.get("method") if isinstance(task, dict) else None
        usual = {"lora": ADAPTER_TRAINING, "prompt-tuning": PROMPT_TRAINING}.get(str(method), USUAL_TRAINING)
        given = values.get("training", {})
        usual = dict(usual)
        if "steps" in given:
            del usual["epochs"]
            if isinstance(given["steps"], int):
                usual["warmup"] = int(0.06 * given["steps"])
        if given.get("schedule", "linear") in ("constant", "inverse-sqrt"):
            del usual["final_share"]
        if given.get("schedule") == "inverse-sqrt":
            usual["warmup"] = max(1, usual.get("warmup", 1))
        if given.get("optimizer", "adamw") != "adamw":
            usual = {"epochs": usual["epochs"]} if "epochs" in usual else {}
        return {**values, "training": {**usual, **given}}

    @model_validator(mode="after")
    def _one_or_several(self) -> "FinetuneRecipe":
        if (self.task is None) == (not self.tasks):
            raise ValueError("give either task, or tasks with several")
        if bool(self.model) == (self.new is not None):
            raise ValueError("give either model, or new with the shape of a new one")
        if self.tasks and any(part.data.folds for part in self.tasks.values()):
            raise ValueError("data.folds is for one task; learn several without it")
        if self.data.folds and self.data.test:
            raise ValueError("data.folds examines all of data.train; leave data.test out")
        if self.data.folds and (self.examine.robustness or self.examine.out_of_domain):
            raise ValueError(
                "with data.folds there is no one model that has not learned the records; leave examine.robustness and "
                "examine.out_of_domain out"
            )
        return self


def read_finetune_recipe(
    recipe: str, overrides: Sequence[str] = (), given: Mapping[str, Any] | None = None
) -> FinetuneRecipe:
    """A recipe file, or a kind of task with what is `given` for it, in the form of a recipe; overrides come last.

    Raises `ConfigError` as `read_settings`.
    """
    values = dict(given or {})
    if recipe.endswith((".yaml", ".yml")):
        return read_settings(FinetuneRecipe, Path(recipe), overrides, values)
    task = {"kind": recipe, **values.pop("task", {})}
    return settings_from_overrides(
        FinetuneRecipe, overrides, {"folder": f"runs/{recipe}", **values, "task": task}
    )
