"""What tests of fine-tuned folders share: a tiny base, and tasks on it whose new weights are far from zero."""

import torch
from pydantic import TypeAdapter

from finetuning import tiny
from hanlin.checkpoint.defaults import GenerationDefaults
from hanlin.checkpoint.folder import save_model
from hanlin.model.adapters.config import LoraConfig, PromptConfig
from hanlin.tasks.begin import open_for
from hanlin.tasks.folder import save_task
from hanlin.tasks.kinds import AnyTask
from hanlin.tasks.model import TaskModel
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.saving import save_tokenizer
from hanlin.tokenizer.tokenizer import Tokenizer
from hanlin.tokenizer.wordpiece import train_wordpiece
from tiny import CPU

TEXTS = ["a good film and a bad film", "this book was good", "这部电影很好看", "这本书很差"]
CLASSES = {"kind": "classify", "labels": ("bad", "good")}


def make_base(folder, seed=0, **settings):
    """A bare encoder of 2 layers as a model folder."""
    save_tokenizer(
        train_wordpiece(TEXTS * 8, TokenizerConfig(model="wordpiece", vocab_size=260, on_small="shrink")),
        "wordpiece",
        folder / "words",
    )
    tokenizer = Tokenizer.load(folder / "words")
    model = tiny(
        "bert", seed=seed, vocab_size=tokenizer.vocab_size, window=32, **{"head": "none", **settings}
    )
    save_model(folder / "base", model, tokenizer, GenerationDefaults(), {}, {})
    return folder / "base"


def make_task(folder, base, **values):
    """A task on the base, written to `folder`, and as it was before."""
    task = TypeAdapter(AnyTask).validate_python(values)
    opened, _ = open_for(str(base), task, CPU, LoraConfig(rank=2), PromptConfig(length=3))
    trained = [one for one in opened.model.parameters() if one.requires_grad and task.is_trained]
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in trained:
            parameter.add_(torch.randn_like(parameter) * 0.3)
    opened.model.eval()
    save_task(folder, opened, task, {"train": "0" * 16}, {"steps": 1}, str(base))
    return TaskModel(folder.name, task, opened)
