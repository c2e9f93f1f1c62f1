"""The peer of fine-tuning: `transformers.Trainer` with the head that the task needs, as its users write it.

python trainer.py job.json     prints {"rows_per_second", "predictions"}; job.json is what experiments/finetuning.py writes
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    torch.set_num_threads(job["threads"])
    tokenizer = AutoTokenizer.from_pretrained(job["model"])
    rows = {side: encoded(job[side], job, tokenizer) for side in ("train", "test")}
    tagging = job["kind"] == "tag"
    auto = AutoModelForTokenClassification if tagging else AutoModelForSequenceClassification
    model = auto.from_pretrained(job["model"], num_labels=max(1, len(job["labels"])))
    collate = (DataCollatorForTokenClassification if tagging else DataCollatorWithPadding)(tokenizer)
    arguments = TrainingArguments(
        output_dir=job["folder"],
        per_device_train_batch_size=job["batch_rows"],
        per_device_eval_batch_size=32,
        num_train_epochs=job["epochs"],
        learning_rate=job["learning_rate"],
        weight_decay=0.01,
        warmup_steps=int(0.06 * job["epochs"] * -(-len(rows["train"]) // job["batch_rows"])),
        lr_scheduler_type="linear",
        seed=job["seed"],
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        dataloader_num_workers=0,
    )
    trainer = Trainer(model, arguments, train_dataset=rows["train"], data_collator=collate)
    done = trainer.train()
    scores = trainer.predict(rows["test"]).predictions
    print(
        json.dumps(
            {
                "rows_per_second": done.metrics["train_samples_per_second"],
                "predictions": said(scores, rows["test"], job),
            }
        )
    )


def encoded(records: list[dict[str, Any]], job: dict[str, Any], tokenizer: Any) -> list[dict[str, Any]]:
    numbers = {label: number for number, label in enumerate(job["labels"])}
    rows = []
    for record in records:
        if job["kind"] == "tag":
            rows.append(tagged(record, numbers, tokenizer, job["max_tokens"]))
            continue
        texts = [record["text"], record["pair"]] if record.get("pair") is not None else [record["text"]]
        row = dict(tokenizer(*texts, truncation=True, max_length=job["max_tokens"]))
        row["label"] = record["score"] if job["kind"] == "regress" else numbers[record["labels"][0]]
        rows.append(row)
    return rows


def tagged(record: dict[str, Any], numbers: dict[str, int], tokenizer: Any, most: int) -> dict[str, Any]:
    """The first token of each word has its tag, as in the token classification example of transformers."""
    row = tokenizer(record["words"], is_split_into_words=True, truncation=True, max_length=most)
    owners = row.word_ids()
    firsts = [
        owner is not None and owner != before for owner, before in zip(owners, [None, *owners], strict=False)
    ]
    labels = [
        numbers[record["tags"][owner]] if first else -100 for owner, first in zip(owners, firsts, strict=True)
    ]
    return {**row, "labels": labels}


def said(scores: np.ndarray, rows: list[dict[str, Any]], job: dict[str, Any]) -> list[Any]:
    if job["kind"] == "regress":
        return [float(value) for value in scores.reshape(-1)]
    best = scores.argmax(-1)
    if job["kind"] != "tag":
        return [job["labels"][int(number)] for number in best]
    return [
        [
            job["labels"][int(number)]
            for number, label in zip(line, row["labels"], strict=False)
            if label != -100
        ]
        for line, row in zip(best, rows, strict=True)
    ]


if __name__ == "__main__":
    main()
