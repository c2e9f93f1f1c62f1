"""`hanlin tokenizer`: corpus -> tokenizer folder."""

from typing import Any

from hanlin.base.lock import locked
from hanlin.base.manifest import Manifest
from hanlin.stages.current import current_manifest, required_manifest
from hanlin.stages.recipe import Recipe
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.train import build_tokenizer


def run_tokenizer(recipe: Recipe) -> Manifest:
    """Train the tokenizer unless its folder is current."""
    manifest = current_tokenizer(recipe)
    if manifest is not None:
        return manifest
    with locked(recipe.folder):
        return build_tokenizer(recipe.tokenizer, recipe.places.corpus, recipe.places.tokenizer)


def current_tokenizer(recipe: Recipe) -> Manifest | None:
    """The manifest if the folder is what the corpus and the recipe's settings would make."""
    corpus = required_manifest(recipe.places.corpus, "corpus", "corpus")
    inputs = {"corpus": corpus.fingerprint}
    return current_manifest(
        recipe.places.tokenizer, "tokenizer", recipe.dump("tokenizer"), inputs, with_later_settings
    )


def with_later_settings(config: dict[str, Any]) -> dict[str, Any]:
    """An earlier configuration with the settings that have come since at their defaults, which change
    nothing."""
    return {**TokenizerConfig().model_dump(mode="json"), **config}
