"""`hanlin corpus`: sources -> a clean, split corpus folder."""

from hanlin.base.lock import locked
from hanlin.base.manifest import Manifest
from hanlin.corpus.pipeline import build_corpus
from hanlin.corpus.sources import inputs_fingerprint
from hanlin.stages.current import current_manifest
from hanlin.stages.recipe import Recipe


def run_corpus(recipe: Recipe) -> Manifest:
    """Build the corpus folder unless it is current."""
    manifest = current_corpus(recipe)
    if manifest is not None:
        return manifest
    with locked(recipe.folder):
        return build_corpus(recipe.corpus, recipe.places.corpus)


def current_corpus(recipe: Recipe) -> Manifest | None:
    """The manifest if the folder is what the recipe's sources and settings would make."""
    inputs = {"sources": inputs_fingerprint(recipe.corpus)}
    return current_manifest(recipe.places.corpus, "corpus", recipe.dump("corpus"), inputs)
