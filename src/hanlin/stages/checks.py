"""What would go wrong only late in a run, or cost an earlier one, looked at before the first stage begins."""

from pathlib import Path

from hanlin.base.errors import ConfigError
from hanlin.base.language import Text
from hanlin.base.records import Split
from hanlin.stages.corpus import current_corpus
from hanlin.stages.objectives import hides_tokens, is_language_model, objective_configs
from hanlin.stages.recipe import Recipe
from hanlin.stages.tokenizer import current_tokenizer


def check_trainable(recipe: Recipe) -> None:
    """Raise `ConfigError` for an objective that does not fit the model, or an examination without effect."""
    objective_configs(recipe)
    config, unused = recipe.evaluate, list[str]()
    if not is_language_model(recipe):
        unused += ["prompts", "max_new_tokens", "temperature", "ngram_order", "ngram_max_tokens"]
    if is_language_model(recipe) or not hides_tokens(recipe):
        unused += ["pseudo_tokens"]
    given = [
        f"evaluate.{name}"
        for name in unused
        if getattr(config, name) != type(config).model_fields[name].default
    ]
    if recipe.pretrain.samples and not is_language_model(recipe):
        given.append("pretrain.samples")
    if given:
        settings = ", ".join(given)
        raise ConfigError(
            Text(
                f"{settings} does nothing for a model with these objectives: "
                f"{'it hides no tokens' if given == ['evaluate.pseudo_tokens'] else 'it continues no text'}.",
                f"{settings} 对具有这些目标的模型不起作用："
                f"{'它不掩盖词元' if given == ['evaluate.pseudo_tokens'] else '它不续写文本'}。",
            ),
            Text("Leave it out.", "请去掉它。"),
        )


def check_splits(recipe: Recipe) -> None:
    """Raise `ConfigError` if training or examination needs a split whose share is 0."""
    sides: tuple[tuple[Split, str], ...] = (("valid", "pretrain"), (recipe.evaluate.split, "evaluate"))
    for name, user in sides:
        if not recipe.corpus.has(name):
            raise ConfigError(
                Text(
                    f"corpus.split.{name} is 0, but {user} needs the {name} split.",
                    f"corpus.split.{name} 为 0，而 {user} 需要 {name} 部分。",
                ),
                Text(
                    f"Give it a share, such as corpus.split.{name}=0.05.",
                    f"请给它一个比例，例如 corpus.split.{name}=0.05。",
                ),
            )


def check_earlier_training(recipe: Recipe) -> None:
    """Raise `ConfigError` if a corpus or tokenizer would be made anew under checkpoints trained on the old one."""
    places = recipe.places
    if not any((places.pretrain / "checkpoints").glob("step-*")):
        return
    if places.corpus.exists() and current_corpus(recipe) is None:
        raise _would_orphan(places.corpus, places.pretrain)
    if places.tokenizer.exists() and current_tokenizer(recipe) is None:
        raise _would_orphan(places.tokenizer, places.pretrain)


def _would_orphan(changed: Path, training: Path) -> ConfigError:
    return ConfigError(
        Text(
            f"{changed} would be made anew, but {training} holds a training run on the old one.",
            f"{changed} 将被重新生成，而 {training} 中的训练用的是旧的那份。",
        ),
        Text(
            f"Set another folder=..., or delete {training} first if it is no longer wanted.",
            f"请另设 folder=……；若不再需要那次训练，请先删除 {training}。",
        ),
    )
