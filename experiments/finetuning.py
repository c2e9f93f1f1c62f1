"""Fine-tuning on real data beside `transformers.Trainer`: the same model, records, settings and measures, in turn.

    python experiments/finetuning.py DATA mrpc stsb          DATA holds the data sets; names from SETS below, default: all
    python experiments/finetuning.py DATA mrpc --seeds 3     each pair of runs with another seed
    python experiments/finetuning.py DATA --table            what runs/results/finetuning.jsonl holds, as Markdown

Of each set at most so many training records are drawn, the same for both. Both train for the same epochs with AdamW,
batches of 16, 6 % warm-up and a linear schedule, and keep the last step. The measure is Hanlin's for both. A result that
stands in runs/results is not made again.
"""

import argparse
import json
import statistics
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hanlin.base.device import choose_compute
from hanlin.checkpoint.folder import find_model
from hanlin.stages.finetune_data import ONE, Learned, read_learned
from hanlin.stages.finetune_recipe import FinetuneRecipe, read_finetune_recipe
from hanlin.stages.finetune_train import Training, prepare, settled
from hanlin.tasks.baselines import baselines

RESULTS = Path("runs/results/finetuning.jsonl")
PEER = Path(__file__).parents[1] / "benchmarks" / "peers" / "trainer.py"
ENGLISH, CHINESE = "all-minilm-l6-v2", "runs/zh-encoder"


@dataclass(frozen=True)
class Set:
    """kind of task, its files, which model; training records drawn, epochs, learning rate, longest input."""

    kind: str
    train: tuple[str, ...]
    test: tuple[str, ...] = ()
    model: str = ENGLISH
    most: int = 3000
    epochs: float = 3
    rate: float = 5e-5
    max_tokens: int = 128
    columns: dict[str, str] = field(default_factory=dict)


SETS = {
    "mrpc": Set("pair", ("mrpc/msr_paraphrase_train.txt",), most=4000),
    "sst2": Set("classify", ("sst2/train.tsv",), ("sst2/dev.tsv",)),
    "cola": Set("classify", ("cola/in_domain_train.tsv",), ("cola/in_domain_dev.tsv",)),
    "rte": Set("pair", ("rte/train.tsv",)),
    "ag_news": Set("classify", ("ag_news/train_10k.jsonl",)),
    "stsb": Set("regress", ("stsb/en-train.jsonl",), ("stsb/en-dev.jsonl",), most=6000),
    "wnut17": Set("tag", ("wnut17/train.conll",), ("wnut17/dev.conll",), most=4000, rate=1e-4),
    "chnsenticorp": Set(
        "classify", ("chnsenticorp/train.tsv",), ("chnsenticorp/dev.tsv",), CHINESE, rate=1e-4
    ),
    "afqmc": Set("pair", ("afqmc/train.jsonl",), ("afqmc/dev_a.jsonl",), CHINESE, rate=1e-4),
    "ocnli": Set("pair", ("ocnli/train_10k.jsonl",), ("ocnli/dev_a.jsonl",), CHINESE, rate=1e-4),
    "resume_ner": Set(
        "tag", ("resume_ner/train.char.bmes",), ("resume_ner/dev.char.bmes",), CHINESE, rate=2e-4
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("names", nargs="*", default=list(SETS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--most", type=int, help="training records at most, instead of those of each set")
    parser.add_argument("--epochs", type=float, help="instead of those of each set")
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    if not given.table:
        for name in given.names:
            for seed in range(given.seeds):
                run(given.data, name, seed, given)
    print(table())


def run(data: Path, name: str, seed: int, given: argparse.Namespace) -> None:
    """Hanlin, then the peer, unless they have run before."""
    chosen, threads = SETS[name], given.threads
    chosen = replace(chosen, most=given.most or chosen.most, epochs=given.epochs or chosen.epochs)
    recipe = recipe_of(data, chosen, name, seed)
    (learned,) = read_learned(recipe)
    for who, one in (("hanlin", ours), ("Trainer", theirs)):
        if not any((line["set"], line["seed"], line["by"]) == (name, seed, who) for line in results()):
            speed, figures = one(recipe, learned, threads)
            keep(
                {
                    "set": name,
                    "seed": seed,
                    "by": who,
                    "rows_per_second": speed,
                    **counts(learned),
                    "figures": figures,
                }
            )
    if seed == 0 and not any((line["set"], line["by"]) == (name, "baseline") for line in results()):
        for beside in baselines(learned.task, learned.sides["train"], learned.sides["test"], resamples=100):
            figures = {figure.name: figure.value for figure in beside.figures}
            keep(
                {
                    "set": name,
                    "seed": 0,
                    "by": "baseline",
                    "name": beside.name,
                    **counts(learned),
                    "figures": figures,
                }
            )


def recipe_of(data: Path, chosen: Set, name: str, seed: int) -> FinetuneRecipe:
    files = {side: [str(data / file) for file in getattr(chosen, side)] for side in ("train", "test")}
    return read_finetune_recipe(
        chosen.kind,
        (),
        {
            "folder": f"runs/results/{name}-{seed}",
            "model": chosen.model,
            "task": {"max_tokens": chosen.max_tokens},
            "data": {**files, "max_records": chosen.most, "columns": chosen.columns, "on_error": "skip"},
            "training": {
                "epochs": chosen.epochs,
                "learning_rate": chosen.rate,
                "seed": seed,
                "evaluate_every": 10**9,
                "save_every": 10**9,
            },
        },
    )


def ours(recipe: FinetuneRecipe, learned: Learned, threads: int) -> tuple[float, dict[str, float]]:
    import torch

    torch.set_num_threads(threads)
    compute = choose_compute("cpu", "float32")
    prepared = prepare(recipe, [learned], compute)
    config = settled(recipe, [learned], len(prepared.train[ONE])).model_copy(update={"validation_rows": 16})
    trained = Training(recipe.folder, prepared, [learned], config, compute, {}, {}).run(fresh=True)
    test = learned.sides["test"].records
    return trained.rows / trained.seconds, measured(learned, learned.task.predict(prepared.opened[ONE], test))


def theirs(recipe: FinetuneRecipe, learned: Learned, threads: int) -> tuple[float, dict[str, float]]:
    labels = getattr(learned.task, "labels", ())
    job: dict[str, Any] = {
        "kind": recipe.task.kind if recipe.task else "",
        "model": str(find_model(Path(recipe.model))),
        "folder": str(recipe.folder / "peer"),
        "labels": list(labels),
        "threads": threads,
        "batch_rows": recipe.training.batch_rows,
        "epochs": recipe.training.epochs,
        "learning_rate": recipe.training.learning_rate,
        "seed": recipe.training.seed,
        "max_tokens": recipe.task.max_tokens if recipe.task else None,
        **{side: [one.model_dump() for one in learned.sides[side].records] for side in ("train", "test")},
    }
    path = recipe.folder / "job.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(job, ensure_ascii=False), "utf-8")
    done = subprocess.run([sys.executable, str(PEER), str(path)], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    found = json.loads(done.stdout.splitlines()[-1])
    records = learned.sides["test"].records
    pairs = zip(found["predictions"], records, strict=True)
    predictions = [as_prediction(learned, one, record) for one, record in pairs]
    return found["rows_per_second"], measured(learned, predictions)


def as_prediction(learned: Learned, said: Any, record: Any) -> Any:
    """What the peer said, as Hanlin would have said it: without probabilities; words that it cut off have no tag."""
    make = type(learned.task).prediction
    if isinstance(said, float):
        return make(score=said)
    if isinstance(said, str):
        sure = {label: float(label == said) for label in learned.task.labels}
        return make(labels=(said,), probability=1.0, probabilities=sure)
    return make.model_construct(tags=(*said, *["O"] * (len(record.words) - len(said))))


def measured(learned: Learned, predictions: list[Any]) -> dict[str, float]:
    measures = learned.task.measures(learned.sides["test"].records, predictions)
    return {measure.name: measure.value for measure in measures}


def counts(learned: Learned) -> dict[str, int]:
    return {side: len(learned.sides[side]) for side in ("train", "test")}  # type: ignore[index]


def results() -> list[dict[str, Any]]:
    return [json.loads(line) for line in RESULTS.read_text("utf-8").splitlines()] if RESULTS.exists() else []


def keep(line: dict[str, Any]) -> None:
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
    print(json.dumps(line, ensure_ascii=False), flush=True)


def table() -> str:
    lines = [
        "| set | records | measure | Hanlin | Trainer | baselines | rows/s | ratio |",
        "|---|---|---|---|---|---|---|---|",
    ]
    found = results()
    for name in dict.fromkeys(line["set"] for line in found):
        own = {
            by: [one for one in found if one["set"] == name and one["by"] == by]
            for by in ("hanlin", "Trainer", "baseline")
        }
        if not own["hanlin"] or not own["Trainer"]:
            continue
        measure = next(iter(own["hanlin"][0]["figures"]))
        speeds = {
            by: statistics.median(one["rows_per_second"] for one in own[by]) for by in ("hanlin", "Trainer")
        }
        beside = ", ".join(f"{one['name']} {one['figures'][measure]:.3f}" for one in own["baseline"])
        lines.append(
            f"| {name} | {own['hanlin'][0]['train']} / {own['hanlin'][0]['test']} | {measure} "
            f"| {spread(own['hanlin'], measure)} | {spread(own['Trainer'], measure)} | {beside} "
            f"| {speeds['hanlin']:.0f} : {speeds['Trainer']:.0f} | {speeds['hanlin'] / speeds['Trainer']:.2f} |"
        )
    return "\n".join(lines)


def spread(lines: list[dict[str, Any]], measure: str) -> str:
    values = [line["figures"][measure] for line in lines]
    deviation = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{deviation} ({len(values)})"


if __name__ == "__main__":
    main()
