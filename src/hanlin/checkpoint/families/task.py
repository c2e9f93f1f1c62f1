"""What config.json says of a model's head: the class in `architectures`, and the labels."""

from collections.abc import Mapping
from typing import Any

from hanlin.base.errors import CheckpointError
from hanlin.base.language import Text
from hanlin.checkpoint.family import require, spelled
from hanlin.model.config import CoreConfig

CLASSES = {
    "Model": "none",
    "ForMaskedLM": "masked",
    "ForSequenceClassification": "classify",
    "ForTokenClassification": "tag",
    "ForQuestionAnswering": "span",
}
"""Ends of class names in `architectures`, behind the family's own ("Roberta"), and our heads."""

_PROBLEMS = ("single_label_classification", "multi_label_classification", "regression")


def read_task(config: dict[str, Any], stem: str, classes: Mapping[str, str] = CLASSES) -> dict[str, Any]:
    """The settings of the head of a config.json whose class is `stem` + one of `classes`, the first if it names none.

    Raises `CheckpointError` for another class, and for labels that contradict one another.
    """
    (name,) = config.get("architectures") or [stem + next(iter(classes))]
    if not name.startswith(stem) or name.removeprefix(stem) not in classes:
        raise _unknown_class(name, stem, classes)
    head = classes[name.removeprefix(stem)]
    if head not in ("classify", "tag"):
        return {"head": head}
    names = _label_names(config)
    settings: dict[str, Any] = {"head": head, "labels": len(names)}
    if head == "classify":
        require(config, "problem_type", None, *_PROBLEMS)
        problem = config.get("problem_type")
        if len(names) == 1 and problem in (None, "regression"):
            settings = {"head": "regress"}
        elif problem == "regression":
            require(config, "problem_type", *_PROBLEMS[:2])  # several numbers at once: no head of ours
        settings["multi_label"] = problem == "multi_label_classification"
    plain = names == _plain_names(len(names))
    return settings if plain else {**settings, "label_names": names}


def write_task(config: CoreConfig, stem: str, classes: Mapping[str, str] = CLASSES) -> dict[str, Any]:
    """The same for config.json; `LookupError` for a head that such families do not have."""
    if config.head == "regress":
        end, names, problem = spelled(classes, "classify"), config.label_names or ("LABEL_0",), "regression"
    else:
        end, names = spelled(classes, config.head), config.label_names or _plain_names(config.labels)
        problem = _PROBLEMS[config.multi_label]
    values: dict[str, Any] = {"architectures": [stem + end]}
    if config.head in ("classify", "regress", "tag"):
        values["id2label"] = {str(id): name for id, name in enumerate(names)}
        values["label2id"] = {name: id for id, name in enumerate(names)}
    if config.head in ("classify", "regress"):
        if len(names) == 1 and problem == _PROBLEMS[0]:
            raise LookupError(
                "one label of which a text has exactly one is no choice: transformers refuses it"
            )
        values["problem_type"] = problem
    return values


def _label_names(config: dict[str, Any]) -> tuple[str, ...]:
    """Names by number, 0 to K-1; files keep numbers as text, and leave names out that were never given."""
    by_number = {int(id): str(name) for id, name in (config.get("id2label") or {}).items()}
    count = config.get("num_labels", len(by_number) or 2)
    if by_number and sorted(by_number) != list(range(count)):
        raise CheckpointError(
            Text(
                f"config.json has {count} labels, but id2label names {sorted(by_number)[:8]}.",
                f"config.json 中有 {count} 个标签，但 id2label 给出的是 {sorted(by_number)[:8]}。",
            ),
            Text("Name each label from 0 on, or none.", "请从 0 起为每个标签命名，或一概不命名。"),
        )
    return tuple(by_number[id] for id in range(count)) if by_number else _plain_names(count)


def _plain_names(count: int) -> tuple[str, ...]:
    return tuple(f"LABEL_{id}" for id in range(count))


def _unknown_class(name: str, stem: str, classes: Mapping[str, str]) -> CheckpointError:
    known = [stem + end for end in classes]
    return CheckpointError(
        Text(f"config.json names the class {name}, which cannot be opened.", f"config.json 指明的类 {name} 无法打开。"),
        Text(f"These can: {', '.join(known)}.", f"可以打开的有：{'、'.join(known)}。"),
    )  # fmt: skip
