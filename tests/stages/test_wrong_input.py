"""A user's mistakes: two sentences, exit code 2, no traceback, nothing lost."""

import shutil
from pathlib import Path

import pytest

from .conftest import hanlin as command


def refused(workplace: Path, *arguments: str, says: tuple[str, ...], language: str = "C.UTF-8") -> str:
    done = command(*arguments, cwd=workplace, language=language)
    assert done.returncode == 2, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    message = " ".join(done.stderr.split())
    for words in says:
        assert words in message, f"{words!r} not in {message!r}"
    return message


def append(workplace: Path, text: str) -> None:
    with open(workplace / "recipe.yaml", "a", encoding="utf-8") as file:
        file.write(text)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("model.layer=6", ("model.layer=6", "unknown key", "layers")),
        ("pretrain.stepz=6", ("unknown key", "steps")),
        ("model.width=33", ("width 33 is not divisible by heads 2",)),
        ("model.width=wide", ("model.width", "wide")),
        ("pretrain.steps=-1", ("pretrain.steps", "greater than or equal to 1")),
        ("pretrain.warmup=24", ("warmup 24 leaves none of the 24 steps",)),
        ("corpus.sources=nowhere", ("nowhere",)),
        ("corpus.split.valid=1.0", ("valid",)),
        ("model.style=gpt3", ("bert", "llama")),
        ("nonsense", ("has no '='",)),
    ],
)
def test_overrides(workplace: Path, override: str, says: tuple[str, ...]) -> None:
    refused(workplace, "corpus", "recipe.yaml", override, says=says)


def test_yaml_mistakes_name_file_and_line(workplace: Path) -> None:
    lines = (workplace / "recipe.yaml").read_text("utf-8").splitlines()
    number = next(i for i, line in enumerate(lines, 1) if "vocab_size" in line)
    typo = "\n".join(lines).replace("vocab_size", "vocab_sise")
    (workplace / "recipe.yaml").write_text(typo, "utf-8")
    refused(workplace, "run", "recipe.yaml", says=(f"recipe.yaml:{number}", "Did you mean 'vocab_size'?"))
    (workplace / "recipe.yaml").write_text("model: [1, 2\n", "utf-8")
    refused(workplace, "run", "recipe.yaml", says=("not valid YAML", "line"))
    refused(workplace, "run", "missing.yaml", says=("missing.yaml", "No such file"))


def test_messages_are_chinese_where_the_locale_is(workplace: Path) -> None:
    says = ("未知的键", "model.layer", "是否想写")
    refused(workplace, "run", "recipe.yaml", "model.layer=6", says=says, language="zh_CN.UTF-8")


def test_stages_out_of_order_say_what_to_run_first(workplace: Path) -> None:
    refused(workplace, "tokenizer", "recipe.yaml", says=("run/corpus", "hanlin corpus"))
    refused(workplace, "pretrain", "recipe.yaml", says=("run/tokenizer", "hanlin tokenizer"))
    refused(workplace, "run", "recipe.yaml", "--from", "evaluate", "--to", "corpus", says=("comes after",))
    refused(workplace, "run", "recipe.yaml", "--from", "nonsense", says=("no stage 'nonsense'", "tokenizer"))


def test_vocabulary_larger_than_the_data_supports(workplace: Path) -> None:
    assert command("corpus", "recipe.yaml", cwd=workplace).returncode == 0
    refused(workplace, "tokenizer", "recipe.yaml", "tokenizer.vocab_size=90000", says=("vocab_size",))


def test_a_split_that_would_be_empty(workplace: Path) -> None:
    for path in sorted((workplace / "texts").iterdir())[2:]:
        path.unlink()
    refused(workplace, "corpus", "recipe.yaml", says=("empty",))
    assert not (workplace / "run" / "corpus").exists()


def test_model_folders_that_cannot_be_used(workplace: Path) -> None:
    done = command("run", "recipe.yaml", "pretrain.steps=6", "--to", "pretrain", cwd=workplace)
    assert done.returncode == 0, done.stderr
    model = workplace / "run/pretrain/model"
    for name, damage, says in (
        ("no-tokenizer", lambda folder: (folder / "tokenizer.json").unlink(), ("tokenizer.json",)),
        ("cut", lambda folder: _cut(folder / "model.safetensors"), ("model.safetensors", "damaged")),
        (
            "newer",
            lambda folder: _replace(folder / "hanlin.json", '"format": 1', '"format": 99'),
            ("format 99", "Upgrade"),
        ),
    ):
        shutil.copytree(model, workplace / name)
        damage(workplace / name)
        refused(workplace, "generate", name, "The", says=says)
    refused(workplace, "generate", "nowhere", "The", says=("nowhere", "There is no model"))
    refused(workplace, "generate", "run", "word " * 200, says=("window",))
    refused(workplace, "generate", "run", "The", "--temperature", "-1", says=("temperature",))
    refused(workplace, "serve", "run", "port=70000", says=("port",))


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _replace(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def test_a_split_that_a_later_stage_needs_is_asked_for_before_the_first(workplace: Path) -> None:
    says = ("corpus.split.test is 0", "evaluate needs")
    refused(workplace, "run", "recipe.yaml", "corpus.split.test=0", says=says)
    says = ("corpus.split.valid is 0", "pretrain needs")
    refused(workplace, "run", "recipe.yaml", "corpus.split.valid=0", says=says)
    assert not (workplace / "run").exists()


def test_a_changed_corpus_does_not_orphan_a_training_run(workplace: Path) -> None:
    done = command("run", "recipe.yaml", "pretrain.steps=6", "--to", "pretrain", cwd=workplace)
    assert done.returncode == 0, done.stderr
    before = (workplace / "run/corpus/hanlin.json").read_bytes()
    (workplace / "texts" / "more.txt").write_text("More text that was not there before. " * 20, "utf-8")
    says = ("run/corpus would be made anew", "run/pretrain holds a training run")
    refused(workplace, "run", "recipe.yaml", "pretrain.steps=6", says=says)
    assert (workplace / "run/corpus/hanlin.json").read_bytes() == before
