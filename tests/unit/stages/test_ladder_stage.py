"""`hanlin ladder` from end to end, on a text of a few thousand words and networks of a few thousand parameters."""

import os
import random
import signal
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest

from hanlin.base.errors import ConfigError
from hanlin.evaluate.ladder import RUNGS, Ladder, LadderConfig
from hanlin.evaluate.ladder_report import ladder_rows, write_ladder_report
from hanlin.model.config import CoreConfig
from hanlin.stages.ladder import print_ladder, run_ladder, rung_folder
from hanlin.stages.networks import count_parameters, network_config
from hanlin.stages.recipe import Recipe, read_recipe

RECIPE = """
folder: {folder}
corpus:
  sources: [{texts}]
  split: {{valid: 0.15, test: 0.2}}
  filters: {{max_symbol_share: 1}}
  deduplicate: {{near: "off"}}
tokenizer: {{vocab_size: 300}}
model: {{width: 16, layers: 1, heads: 2, window: 16}}
pretrain: {{batch_rows: 4, warmup: 2, learning_rate: 0.01}}
evaluate: {{resamples: 100, ngram_order: 3}}
ladder:
  tokens: 3000
  gradient_distance: 12
  gradient_rows: 8
  recall_distances: [1, 3]
  recall_steps: 6
  recall_rows: 4
"""
WORDS = [
    "the",
    "of",
    "river",
    "stone",
    "light",
    "paper",
    "garden",
    "winter",
    "letter",
    "answer",
    "opens",
    "closes",
    "falls",
    "writes",
    "春水",
    "文章",
]


def make_recipe(folder: Path, *overrides: str) -> Recipe:
    if not (folder / "texts").exists():
        (folder / "texts").mkdir()
        draw = random.Random(1)
        for number in range(60):
            text = " ".join(f"{draw.choice(WORDS)} {draw.choice(WORDS)}." for _ in range(30)) + f" {number}"
            (folder / "texts" / f"{number}.txt").write_text(text, "utf-8")
    text = RECIPE.format(folder=folder / "run", texts=folder / "texts")
    (folder / "recipe.yaml").write_text(text, "utf-8")
    return read_recipe(folder / "recipe.yaml", overrides)


@pytest.fixture(scope="module")
def climbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ladder]:
    folder = tmp_path_factory.mktemp("ladder")
    return folder, run_ladder(make_recipe(folder))


def contents(recipe: Recipe) -> dict[str, bytes]:
    return {name: (rung_folder(recipe, name) / "rung.json").read_bytes() for name in RUNGS}


def test_every_rung_is_trained_examined_and_probed(climbed: tuple[Path, Ladder]) -> None:
    _, ladder = climbed
    assert tuple(rung.name for rung in ladder.rungs) == RUNGS
    rungs = {rung.name: rung for rung in ladder.rungs}
    bits = {name: rung.figures.bits_per_byte for name, rung in rungs.items()}
    assert max(bits.values()) == bits["uniform"]
    assert len({rung.scores.bytes for rung in ladder.rungs}) == 1
    for name in RUNGS[2:]:
        rung = rungs[name]
        assert rung.tokens == 47 * 4 * 16  # the first whole number of steps that reaches 3,000
        assert rung.cost.seconds > 0 < rung.cost.cpu_seconds
        assert len(rung.gradient) == 12
        assert len(rung.recall) == 2
        assert rung.losses[-1][1] < rung.losses[0][1]
        assert 0.85 * rungs["transformer"].parameters < rung.parameters <= rungs["transformer"].parameters
    assert rungs["feed-forward"].gradient[4:] == (0.0,) * 8
    assert min(rungs["transformer"].gradient) > 0
    assert [(d.first, d.second) for d in ladder.differences] == [
        (upper, lower) for lower, upper in pairwise(RUNGS)
    ]
    step = ladder.differences[0]
    assert step.bits_per_byte == pytest.approx(bits["n-gram"] - bits["uniform"])
    assert step.interval is not None
    assert step.interval.low <= step.bits_per_byte <= step.interval.high


def test_a_finished_rung_is_not_trained_again(climbed: tuple[Path, Ladder]) -> None:
    folder, ladder = climbed
    recipe = make_recipe(folder)
    before = contents(recipe)
    assert run_ladder(recipe) == ladder
    assert contents(recipe) == before
    run_ladder(make_recipe(folder, "evaluate.ngram_order=2", "ladder.rungs=[n-gram]"))
    after = contents(recipe)
    assert {name for name in RUNGS if after[name] != before[name]} == {"n-gram"}
    run_ladder(make_recipe(folder))
    (rung_folder(recipe, "rnn") / "rung.json").write_text("{}", "utf-8")  # damaged: trained again
    again = run_ladder(make_recipe(folder)).rungs[3]
    assert (again.scores, again.gradient, again.recall) == (
        ladder.rungs[3].scores,
        ladder.rungs[3].gradient,
        ladder.rungs[3].recall,
    )


def test_ctrl_c_keeps_finished_rungs(tmp_path: Path) -> None:
    """The n-gram model is finished, then the interrupt comes into a training that would not end for days."""
    recipe = make_recipe(tmp_path, "ladder.rungs=[n-gram,rnn]", "ladder.tokens=1000000000")
    finished = rung_folder(recipe, "n-gram")
    usual = signal.getsignal(signal.SIGINT)  # another one when the loop of the next rung has begun

    def interrupt() -> None:
        while not finished.exists() or signal.getsignal(signal.SIGINT) is usual:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        run_ladder(recipe)
    before = (finished / "rung.json").read_bytes()
    assert not rung_folder(recipe, "rnn").exists()
    assert not (recipe.places.ladder / "results.json").exists()
    only = make_recipe(tmp_path, "ladder.rungs=[n-gram]", "ladder.tokens=1000000000")
    assert run_ladder(only).rungs[0].model_dump_json() + "\n" == before.decode()


def test_a_budget_of_time_becomes_steps(tmp_path: Path) -> None:
    recipe = make_recipe(
        tmp_path, "ladder.tokens=null", "ladder.seconds=0.3", "ladder.rungs=[uniform,feed-forward]"
    )
    rung = run_ladder(recipe).rungs[1]
    assert rung.tokens >= 2 * 4 * 16
    assert rung.tokens % (4 * 16) == 0


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("ladder.seconds=5", "two budgets"),
        ("ladder.rungs=[uniform,elmo]", "elmo"),
        ("ladder.rungs=[rnn,rnn]", "twice"),
        ("ladder.recall_distances=[4,2]", "ascending"),
        ("ladder.recall_distances=[]", "at least 1"),
        ("ladder.tokens=0", "greater than or equal to 1"),
    ],
)
def test_impossible_ladders_are_refused(tmp_path: Path, override: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        make_recipe(tmp_path, override)


def test_a_split_that_is_not_there_is_said_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"corpus\.split\.test is 0"):
        run_ladder(make_recipe(tmp_path, "corpus.split.test=0"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["feed-forward", "rnn", "lstm", "gru"])
def test_networks_have_the_size_of_the_transformer(name: str) -> None:
    core = CoreConfig(vocab_size=2048, width=128, layers=2, heads=2, window=128)
    found = count_parameters(network_config(name, core, LadderConfig()))  # type: ignore[arg-type]
    assert 0.99 * count_parameters(core) < found <= count_parameters(core)


def test_table_and_page_tell_every_rung(
    climbed: tuple[Path, Ladder], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, ladder = climbed
    print_ladder(ladder, folder)
    printed = capsys.readouterr().out
    for row in ladder_rows(ladder):
        assert all(cell in printed for cell in row)
    for lang, word in (("en", "Gradient over distance"), ("zh", "梯度与距离")):
        write_ladder_report(tmp_path / "page.html", ladder, "<b>", "", lang)  # type: ignore[arg-type]
        page = (tmp_path / "page.html").read_text("utf-8")
        assert word in page
        assert page.count("<svg") == 4
        assert page.count('class="line c6"') == 3  # the Transformer, in each of the three line charts
        assert "&lt;b&gt;" in page
        assert "<b>" not in page
        assert "<script" not in page
