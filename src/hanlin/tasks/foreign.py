"""What a model does that was fine-tuned elsewhere: its head tells."""

from pathlib import Path

from hanlin.model.config import CoreConfig
from hanlin.tasks.answer import Answer
from hanlin.tasks.classify import Classify
from hanlin.tasks.kinds import AnyTask
from hanlin.tasks.match import Match
from hanlin.tasks.regress import Regress
from hanlin.tasks.tag import Tag


def task_of(config: CoreConfig, folder: Path) -> AnyTask | None:
    """The task of a model with these settings in `folder`; None where its head does none."""
    match config.head:
        case "classify":
            return Classify.of_model(config)
        case "tag":
            return Tag.of_model(config)
        case "span":
            return Answer.of_model(config)
        case "regress":
            return Regress()
        case "none" if (folder / "modules.json").is_file():  # a model of sentence-transformers
            return Match(method="zero-shot").suited(folder)
    return None
