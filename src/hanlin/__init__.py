"""Hanlin 翰林: a language model of your own, from raw text to a served and examined model."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["LanguageModel", "__version__", "load"]

if TYPE_CHECKING:
    from hanlin.generate.language_model import LanguageModel, load


def __getattr__(name: str) -> Any:
    """`load` and `LanguageModel`, imported when first used: `import hanlin` alone does not import torch."""
    if name in ("load", "LanguageModel"):
        from hanlin.generate import language_model

        return getattr(language_model, name)
    raise AttributeError(f"module 'hanlin' has no attribute {name!r}")
