"""What a recipe's model is pre-trained on: from the names in `pretrain:` to objectives with their rows."""

from collections.abc import Sequence
from typing import Protocol

from hanlin.base.errors import ConfigError
from hanlin.base.language import Text
from hanlin.base.records import Split
from hanlin.batches.loader import Examples, Loader
from hanlin.batches.pack import PackedRows
from hanlin.batches.store import Ids
from hanlin.model.config import CoreConfig
from hanlin.objective.causal import Causal
from hanlin.objective.config import ObjectiveConfig, ObjectiveName
from hanlin.objective.mixture import Mixture, Part
from hanlin.objective.term import Objective
from hanlin.stages.recipe import Recipe

FITS: dict[ObjectiveName, tuple[tuple[str, str], ...]] = {
    "causal": (("decoder", "lm"),),
}
"""The (assembly, head) that each objective trains; the first objective that fits a model is its default."""


class TokenSource(Protocol):
    """Where the ids of the splits come from: a token store, or random ones to try a run out."""

    begin_id: int
    vocab_size: int

    def tokens(self, split: Split, sources: Sequence[str] = ()) -> Ids:
        """The ids of a split, of all sources of the corpus or of some."""


def objective_configs(recipe: Recipe) -> tuple[ObjectiveConfig, ...]:
    """The parts of the run; raises `ConfigError` for an objective that does not fit the model."""
    pretrain, shape = recipe.pretrain, (recipe.model.assembly, recipe.model.head)
    fitting = [name for name, shapes in FITS.items() if shape in shapes]
    kind = pretrain.objective or (fitting[0] if fitting else "causal")
    configs = pretrain.mixture or (ObjectiveConfig(kind=kind),)
    for config in configs:
        if config.kind not in fitting:
            raise _does_not_fit(config.kind, recipe.model, fitting)
    return configs


def build_mixture(
    recipe: Recipe,
    source: TokenSource,
    splits: tuple[Split, Split] = ("train", "valid"),
    rank: int = 0,
    ranks: int = 1,
) -> Mixture:
    """The objectives with the rows of the split that is learned from and of the one that is held out.

    rank, ranks: the share of each training batch that this process makes. Raises `DataError` if a split has no row.
    """
    pretrain = recipe.pretrain
    configs = objective_configs(recipe)
    parts = []
    for number, config in enumerate(configs):
        train, held_out = (_examples(recipe, source, split, config) for split in splits)
        same = [other.kind for other in configs].count(config.kind) > 1
        parts.append(
            Part(
                name=f"{config.kind}-{number}" if same else config.kind,
                objective=_objective(recipe, config),
                train=Loader(train, rows=pretrain.batch_rows, seed=pretrain.seed, rank=rank, ranks=ranks),
                held_out=Loader(
                    held_out, rows=pretrain.micro_rows or pretrain.batch_rows, seed=pretrain.seed
                ),
                weight=config.weight,
            )
        )
    return Mixture(parts)


def _objective(recipe: Recipe, config: ObjectiveConfig) -> Objective:
    match config.kind:
        case "causal":
            return Causal(recipe.pretrain.label_smoothing)


def _examples(recipe: Recipe, source: TokenSource, split: Split, config: ObjectiveConfig) -> Examples:
    tokens = source.tokens(split, config.sources)
    match config.kind:
        case "causal":
            return PackedRows(
                tokens, recipe.model.window, source.begin_id, recipe.pretrain.separate_documents
            )


def _does_not_fit(kind: str, model: CoreConfig, fitting: Sequence[str]) -> ConfigError:
    remedy = (
        Text(f"For this model choose from {', '.join(fitting)}.", f"此模型可选：{'、'.join(fitting)}。")
        if fitting
        else Text(
            "Pre-train with head lm (decoder, seq2seq) or masked (encoder); other heads are for fine-tuning.",
            "请用 head lm（decoder、seq2seq）或 masked（encoder）预训练；其余的 head 用于微调。",
        )
    )
    return ConfigError(
        Text(f"The objective {kind} does not fit a model of assembly {model.assembly}, head {model.head}.",
             f"目标 {kind} 不适用于 assembly 为 {model.assembly}、head 为 {model.head} 的模型。"),
        remedy,
    )  # fmt: skip
