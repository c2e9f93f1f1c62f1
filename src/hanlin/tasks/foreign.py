"""What a model does that was fine-tuned elsewhere: its head tells."""

from pathlib import Path

from hanlin.model.config import CoreConfig
from hanlin.tasks.classify import Classify
from hanlin.tasks.kinds import AnyTask


def task_of(config: CoreConfig, folder: Path) -> AnyTask | None:
    """The task of a model with these settings in `folder`; None where its head does none."""
    match config.head:
        case "classify":
            names = config.label_names or tuple(f"LABEL_{number}" for number in range(config.labels))
            return Classify(labels=names, multi_label=config.multi_label)
    return None
