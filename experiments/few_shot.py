"""What examples and templates in the prompt are worth to a small model that nothing is trained of.

Sentiment in English (SST-2) and Chinese (ChnSentiCorp): accuracy with 0, 1, 2, 4 and 8 examples in the prompt, several
draws of them; the same examples in other orders; other templates without any.

    python experiments/few_shot.py DATA MODEL FOLDER [RECORDS]
    python experiments/few_shot.py data smollm2-135m-instruct runs/few-shot 100

DATA has sst2/ and chnsenticorp/ with train.tsv and dev.tsv. For each language a folder with prompts.json and prompts.html.
"""

import sys
from pathlib import Path
from typing import Any

import yaml

from hanlin.stages.evaluate_tasks import Manner, run_evaluate_tasks

TASKS: dict[str, tuple[str, dict[str, str], list[str]]] = {
    "sentiment_en": (
        "sst2",
        {"0": "negative", "1": "positive"},
        [
            "Review: {text}\nSentiment: {word}",
            "{text}\nIs this review negative or positive? It is {word}",
            "{text} The reviewer is {word}",
        ],
    ),
    "sentiment_zh": (
        "chnsenticorp",
        {"0": "差", "1": "好"},
        [
            "评论：{text}\n评价：{word}",
            "{text}\n总的来说，很{word}",
            "{text}\n这条评论说的是好还是差？{word}",
        ],
    ),
}
"""Data, the word of each label, and the templates, the first of which shows examples."""


def main(data: Path, model: str, folder: Path, records: int) -> None:
    """Study both languages and print means and spreads."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, (source, words, templates) in TASKS.items():
        first, *others = templates
        task: dict[str, Any] = {
            "kind": "classify",
            "method": "zero-shot",
            "words": words,
            "template": first,
            "max_tokens": 1024,
        }
        files_of = {"train": [str(data / source / "train.tsv")], "test": [str(data / source / "dev.tsv")]}
        recipe = {"task": task, "data": {**files_of, "on_error": "skip"}, "templates": others}
        files.append(str(folder / f"{name}.yaml"))
        Path(files[-1]).write_text(yaml.safe_dump(recipe, allow_unicode=True, sort_keys=False), "utf-8")
    manner = Manner(shots=(0, 1, 2, 4, 8), seeds=3, orders=4, limit=records)
    found = run_evaluate_tasks(model, files, [], folder, manner)
    print("\n".join(found.lines()))


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]) if len(sys.argv) > 4 else 100)
