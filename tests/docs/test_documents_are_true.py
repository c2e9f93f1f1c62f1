"""Documents that can fail: links, verbs, rooms, recipes and code blocks are held against what is there."""

import ast
import re
from pathlib import Path

import pytest

from hanlin.cli.main import app
from hanlin.stages.finetune_recipe import read_finetune_recipe
from hanlin.stages.recipe import Recipe, read_recipe

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "README.zh-CN.md", *sorted((ROOT / "docs").rglob("*.md"))]
VERBS = {
    "run",
    "keys",
    "plan",
    "corpus",
    "tokenizer",
    "pretrain",
    "records",
    "finetune",
    "predict",
    "compare",
    "evaluate",
    "sweep",
    "find-rate",
    "average",
    "ladder",
    "embed",
    "convert",
    "generate",
    "chat",
    "fill",
    "serve",
    "show",
    "doctor",
}


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text("utf-8"), re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_our_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_examples_are_python_and_import_what_exists(page: Path) -> None:
    for code in blocks(page, "python"):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom):
                # A fromlist imports submodules too, as the statement itself would.
                module = __import__(node.module or "", fromlist=[name.name for name in node.names])
                assert all(hasattr(module, name.name) for name in node.names), code


def test_every_verb_is_in_both_readmes_and_on_the_command_line() -> None:
    assert {name for name in app if not name.startswith("-")} == VERBS
    for page in PAGES[:2]:
        table = " ".join(line for line in page.read_text("utf-8").splitlines() if line.startswith("| `"))
        assert set(re.findall(r"`([a-z-]+)`", table)) >= VERBS, page.name


def test_the_chinese_readme_keeps_up_with_the_english_one() -> None:
    english, chinese = (page.read_text("utf-8") for page in PAGES[:2])
    for language in ("python",):
        assert blocks(PAGES[0], language) == blocks(PAGES[1], language)
    numbers = re.compile(r"\d\.\d{3}\b")
    assert numbers.findall(english) == numbers.findall(chinese)


def test_the_map_of_the_house_is_the_house() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    drawn = re.findall(r"^ {6}([a-z]+)/ ", text, re.MULTILINE)
    rooms = {path.parent.name for path in (ROOT / "src" / "hanlin").glob("*/__init__.py")}
    assert set(drawn) == rooms


@pytest.mark.parametrize("recipe", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_recipes_are_valid(recipe: Path) -> None:
    assert read_recipe(recipe).folder == Path("runs") / recipe.stem


@pytest.mark.parametrize(
    "recipe", sorted((ROOT / "recipes/tasks").glob("*.yaml")), ids=lambda path: path.stem
)
def test_shipped_recipes_of_tasks_are_valid(recipe: Path) -> None:
    chosen = read_finetune_recipe(str(recipe))
    assert chosen.folder == Path("runs") / recipe.stem
    tasks = [chosen.task] if chosen.task is not None else [part.task for part in chosen.tasks.values()]
    assert all(task.method in task.methods for task in tasks)


def test_the_recipe_of_the_readme_is_valid(tmp_path: Path) -> None:
    for page in PAGES[:2]:
        (text,) = blocks(page, "yaml")
        (tmp_path / "mine.yaml").write_text(text, "utf-8")
        assert isinstance(read_recipe(tmp_path / "mine.yaml"), Recipe)
