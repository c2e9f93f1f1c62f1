"""Hanlin 翰林: a language model of your own, from raw text to a served and examined model."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "Completion", "LanguageModel", "SentenceEncoder", "TaskModel", "__version__", "complete", "embed", "load",
    "load_encoder", "load_task",
]  # fmt: skip

if TYPE_CHECKING:
    from hanlin.generate.completion import Completion
    from hanlin.generate.embedding import SentenceEncoder, embed, load_encoder
    from hanlin.generate.language_model import LanguageModel, load
    from hanlin.generate.one_line import complete
    from hanlin.tasks.folder import load_task
    from hanlin.tasks.model import TaskModel


def __getattr__(name: str) -> Any:
    """The names above, imported when first used: `import hanlin` alone does not import torch."""
    if name in ("complete", "Completion"):
        from hanlin.generate import one_line

        return getattr(one_line, name)
    if name in ("load", "LanguageModel"):
        from hanlin.generate import language_model

        return getattr(language_model, name)
    if name in ("embed", "load_encoder", "SentenceEncoder"):
        from hanlin.generate import embedding

        return getattr(embedding, name)
    if name == "load_task":
        from hanlin.tasks.folder import load_task

        return load_task
    if name == "TaskModel":
        from hanlin.tasks.model import TaskModel

        return TaskModel
    raise AttributeError(f"module 'hanlin' has no attribute {name!r}")
