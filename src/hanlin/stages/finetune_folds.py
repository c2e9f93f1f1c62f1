"""Cross-validation of a fine-tuning: k trainings, each examined on the records that it did not learn from."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hanlin.base.device import Compute
from hanlin.base.files import write_text
from hanlin.base.language import Text
from hanlin.base.progress import console
from hanlin.base.records import Record, Split
from hanlin.batches.folds import Fold, folds, same_texts
from hanlin.records.loaded import Loaded
from hanlin.stages.finetune_data import Learned
from hanlin.stages.finetune_recipe import FinetuneRecipe
from hanlin.stages.finetune_train import Training, prepare, settled

PREDICTIONS = "predictions.json"


def cross_validate(
    recipe: FinetuneRecipe,
    learned: Learned,
    compute: Compute,
    identity: dict[str, Any],
    inputs: dict[str, str],
) -> tuple[Loaded[Any], list[Record], list[float]]:
    """The records of all folds, what was said of each by the model that had not learned from it, and the main measure of
    each fold.

    A fold that is finished is not trained again: its predictions stand in `folds/N/`. Raises as `Training.run`.
    """
    whole = learned.sides["train"]
    parts = divided(whole, learned.data.folds, recipe.training.seed)
    numbers, predictions, values = list[int](), list[Record](), list[float]()
    for number, fold in enumerate(parts, 1):
        console.print(str(Text(f"Fold {number} of {len(parts)}", f"第 {number} 折，共 {len(parts)} 折")))
        part = replace(learned, sides=_sides(learned.sides, fold))
        folder = recipe.folder / "folds" / str(number)
        said = _predictions(folder, part, recipe, compute, {**identity, "fold": number}, inputs)
        numbers += fold.test.tolist()
        predictions += said
        values.append(learned.task.measures(part.sides["test"].records, said)[0].value)
    return whole.chosen(numbers), predictions, values


def divided(loaded: Loaded[Any], k: int, seed: int) -> list[Fold]:
    """The folds: answers have their share in each as far as they repeat, and copies of a text stay together."""
    answers = [str(record.answer) for record in loaded.records]
    kinds = {answer: number for number, answer in enumerate(dict.fromkeys(answers))}
    few = len(kinds) <= max(2, len(answers) // 10)  # else they are numbers or texts, which have no share
    labels = [kinds[answer] if few else 0 for answer in answers]
    texts = ["\x1f".join(record.inputs) for record in loaded.records]
    return folds(labels, same_texts(texts), k, seed)


def _sides(sides: dict[Split, Loaded[Any]], fold: Fold) -> dict[Split, Loaded[Any]]:
    whole: Loaded[Any] = sides["train"]
    return {
        "train": whole.chosen(fold.train.tolist()),
        "valid": sides["valid"],
        "test": whole.chosen(fold.test.tolist()),
    }


def _predictions(
    folder: Path,
    part: Learned,
    recipe: FinetuneRecipe,
    compute: Compute,
    identity: dict[str, Any],
    inputs: dict[str, str],
) -> Sequence[Record]:
    """What the model of one fold says of its test records."""
    done, prediction = folder / PREDICTIONS, type(part.task).prediction
    if done.is_file():
        kept = json.loads(done.read_text("utf-8"))
        if kept["identity"] == json.loads(json.dumps({**identity, "inputs": inputs}, default=str)):
            return [prediction.model_validate(one) for one in kept["predictions"]]
    prepared = prepare(recipe, [part], compute)
    config = settled(recipe, [part], len(prepared.train[part.name]))
    Training(folder, prepared, [part], config, compute, identity, inputs).run()
    opened = prepared.opened[part.name]
    task = part.task.calibrated(opened, part.sides["valid"].records)
    said: list[Record] = task.predict(opened, part.sides["test"].records)
    values = {
        "identity": {**identity, "inputs": inputs},
        "predictions": [one.model_dump(mode="json") for one in said],
    }
    write_text(done, json.dumps(values, ensure_ascii=False, default=str) + "\n")
    return said
