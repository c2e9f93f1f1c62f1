"""`hanlin generate`: prompts from everywhere, results as text or JSONL, and a stopped run goes on where it was."""

import io
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from hanlin.base.errors import ConfigError, DataError, HanlinError, RequestError
from hanlin.base.interrupt import Interrupted
from hanlin.base.records import Message
from hanlin.cli.arguments import other_parameters
from hanlin.cli.main import app
from hanlin.generate.language_model import LanguageModel, load
from hanlin.generate.prompt_template import load_template
from hanlin.stages import generate as stage
from hanlin.stages.generate import Asked, run_generate, stream_texts
from hanlin.stages.generate_prompts import Prompt, Reading, read_prompts
from serving import make_model_folder

GREEDY = Asked({"temperature": 0, "max_new_tokens": 8})
DRAWN = Asked({"temperature": 1, "max_new_tokens": 8, "seed": 3}, n=2)
PROMPTS = ["Row", "春眠", "Who", "gently down", "the stream"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model_folder(tmp_path_factory.mktemp("generate"))


@pytest.fixture(scope="module")
def model(folder: Path) -> LanguageModel:
    return load(folder, "cpu", max_rows=2)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_prompts_come_from_arguments_files_and_pipes(tmp_path: Path) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text("一\ntwo\n", "utf-8")
    records = tmp_path / "records.jsonl"
    records.write_text(
        '{"id": 7, "prompt": "three"}\n{"messages": [{"role": "user", "content": "four"}], "id": 8}\n',
        "utf-8",
    )
    read = list(read_prompts(["zero"], [lines, records], ["unread\n"], Reading()))
    assert [one.said for one in read] == [
        "zero",
        "一",
        "two",
        "three",
        [Message(role="user", content="four")],
    ]
    assert [one.beside for one in read[3:]] == [{"id": 7}, {"id": 8}]
    assert read[2].place == f"{lines}:2"
    piped = read_prompts([], [], iter(["a\n", "b"]), Reading(chat=True, system="s"))
    assert [[turn.content for turn in one.said] for one in piped] == [["s", "a"], ["s", "b"]]  # type: ignore[union-attr]


def test_templates_take_fields_variables_and_texts(tmp_path: Path) -> None:
    records = tmp_path / "records.jsonl"
    records.write_text('{"id": 1, "text": "Hi.", "target": "French"}\n{"id": 2, "text": "Ho."}\n', "utf-8")
    reading = Reading(template=load_template("translate"), variables={"target": "German"})
    texts = [one.said[0].content for one in read_prompts(["Hey."], [records], [], reading)]  # type: ignore[union-attr]
    assert ["into French" in text for text in texts] == [False, True, False]
    assert ["into German" in text for text in texts] == [True, False, True]
    with pytest.raises(RequestError, match="still wants text, target"):
        list(read_prompts(["Hey."], [], [], Reading(template=load_template("translate"))))
    with pytest.raises(DataError, match=r"records.jsonl:2: The template translate: no value for target"):
        list(read_prompts([], [records], [], Reading(template=load_template("translate"))))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "not valid JSON"),
        ("[]", "not a record"),
        ('{"question": "x"}', "there is: question"),
        ('{"messages": [{"role": "king", "content": "x"}]}', "role"),
    ],
)
def test_malformed_records_are_named(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"prompt": "fine"}\n' + line + "\n", "utf-8")
    with pytest.raises(DataError, match=f"bad.jsonl:2.*{says}"):
        list(read_prompts([], [path], [], Reading()))


def test_options_that_do_nothing_are_refused() -> None:
    for reading, names in (
        (Reading(system="s"), "--system.*--chat"),
        (Reading(language="zh"), "--language.*--template"),
        (Reading(variables={"a": "b"}), "--var.*--template"),
    ):
        with pytest.raises(RequestError, match=names):
            reading.check()


def test_results_are_those_of_the_model_in_the_order_of_prompts(
    model: LanguageModel, folder: Path, tmp_path: Path
) -> None:
    prompts = [Prompt(text, beside={"id": number}) for number, text in enumerate(PROMPTS)]
    run_generate(model, folder, DRAWN, prompts, tmp_path / "out.jsonl")
    found = rows(tmp_path / "out.jsonl")
    assert [(row["id"], row["prompt"], row["number"]) for row in found] == [
        (number, text, k) for number, text in enumerate(PROMPTS) for k in (0, 1)
    ]
    expected = [model.samples(text, 2, **DRAWN.parameters) for text in PROMPTS]
    assert [row["text"] for row in found] == [one.text for both in expected for one in both]
    assert {row["seed"] for row in found} == {3, 4}
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]


def test_text_is_what_standard_output_shows(model: LanguageModel, folder: Path, tmp_path: Path) -> None:
    prompts = [Prompt("Row"), Prompt([Message(role="user", content="Who are you?")])]
    run_generate(model, folder, GREEDY, prompts, tmp_path / "out.txt")
    answer = model.chat(prompts[1].said, **GREEDY.parameters).text  # type: ignore[arg-type]
    expected = f"Row{model.generate('Row', **GREEDY.parameters).text}\n{answer}\n"
    assert (tmp_path / "out.txt").read_text("utf-8") == expected
    for eager in (True, False):
        out = io.StringIO()
        stream_texts(model, GREEDY, prompts, out, json_lines=False, eager=eager)
        assert out.getvalue() == expected


def test_what_is_wrong_is_told_before_a_prompt_is_shown(model: LanguageModel) -> None:
    out = io.StringIO()
    with pytest.raises(RequestError, match="regex"):
        stream_texts(model, Asked({"regex": "("}), [Prompt("Row")], out, json_lines=False, eager=True)
    assert out.getvalue() == ""


def test_an_output_that_is_a_folder_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").mkdir()
    with pytest.raises(RequestError, match="folder"):
        stage.check_output(tmp_path / "out.jsonl")


def test_a_text_may_begin_like_json(model: LanguageModel) -> None:
    assert other_parameters({"bad-words": ("[foo",), "logit-bias": ('{"5": 1}',)}) == {
        "bad_words": "[foo", "logit_bias": {"5": 1}
    }  # fmt: skip
    with pytest.raises(RequestError, match="logit_bias"):
        model.defaults.changed(other_parameters({"logit-bias": ("{5",)}))


def test_a_stopped_run_goes_on_and_ends_with_the_same_file(
    model: LanguageModel, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = [Prompt(text) for text in PROMPTS]
    output, whole = tmp_path / "out.jsonl", tmp_path / "whole.jsonl"
    run_generate(model, folder, DRAWN, prompts, whole)
    append, appended = stage.Journal.append, 0

    def stopping(journal: stage.Journal, said: Any) -> None:
        nonlocal appended
        append(journal, said)
        appended += 1
        if appended == 2:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(stage.Journal, "append", stopping)
    with pytest.raises(Interrupted):
        run_generate(model, folder, DRAWN, prompts, output)
    assert not output.exists()
    assert appended == 2
    with pytest.raises(ConfigError, match="something else"):
        run_generate(model, folder, GREEDY, prompts, output)
    run_generate(model, folder, DRAWN, prompts, output)
    assert appended == len(prompts)  # none is made twice
    assert output.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_fresh_throws_an_unfinished_run_away(model: LanguageModel, folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    journal = stage.beside(output) / "completions.jsonl"
    journal.parent.mkdir()
    journal.write_text('{"model": "another"}\n{"results": [{"text": "stale"}]}\n', "utf-8")
    with pytest.raises(ConfigError, match="something else"):
        run_generate(model, folder, GREEDY, [Prompt("Row")], output)
    run_generate(model, folder, GREEDY, [Prompt("Row")], output, fresh=True)
    assert rows(output)[0]["text"] != "stale"


def test_a_prompt_that_does_not_fit_is_named_before_anything_is_computed(
    model: LanguageModel, folder: Path, tmp_path: Path
) -> None:
    prompts = [Prompt("Row", "in.txt:1"), Prompt("z" * 9000, "in.txt:2")]
    with pytest.raises(DataError, match=r"in.txt:2: The prompt has 9"):
        run_generate(model, folder, GREEDY, prompts, tmp_path / "out.txt")
    assert not list(tmp_path.iterdir())
    asked = Asked(GREEDY.parameters, overflow="trim")
    run_generate(model, folder, asked, prompts, tmp_path / "out.jsonl")
    assert rows(tmp_path / "out.jsonl")[1]["dropped_tokens"] > 800


def test_beams_are_the_likeliest_texts(model: LanguageModel, folder: Path, tmp_path: Path) -> None:
    asked = Asked(search={"beams": 3, "best": 2, "max_new_tokens": 4})
    run_generate(model, folder, asked, [Prompt("Row")], tmp_path / "out.jsonl")
    found = rows(tmp_path / "out.jsonl")
    assert [row["text"] for row in found] == [
        one.text for one in model.beam("Row", beams=3, best=2, max_new_tokens=4)
    ]
    assert found[0]["score"] >= found[1]["score"]
    with pytest.raises(RequestError, match="temperature"):
        Asked(search={"beams": 3, "temperature": 1}).check(model)
    with pytest.raises(RequestError, match=r"choices.*--beams"):
        list(stage._answered(model, asked, [Prompt("Row", held_to={"choices": ("a",)})]))


def test_a_template_is_a_plain_text_to_a_model_that_does_not_converse(
    model: LanguageModel, folder: Path, tmp_path: Path
) -> None:
    prompt = next(iter(read_prompts(["x"], [], [], Reading(template=load_template("summarise")))))
    assert stage._said(model, prompt) == prompt.said
    shutil.copytree(folder, tmp_path / "plain")
    for name in ("chat_template.jinja", "hanlin.json"):
        (tmp_path / "plain" / name).unlink()
    plain = load(tmp_path / "plain", "cpu")
    said = stage._said(plain, prompt)
    assert isinstance(said, str)
    assert said.startswith("Summarise the following text")
    with pytest.raises(HanlinError, match="template"):
        stage._request(plain, GREEDY, Prompt([Message(role="user", content="x")]))


def run(*arguments: object) -> None:
    app([str(one) for one in arguments])


def test_the_command_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.txt").write_text("Row\n春眠\n", "utf-8")
    out = tmp_path / "out.jsonl"
    greedy = ("--temperature", 0, "--max-new-tokens", 4)
    run(
        "generate", folder, "--input", tmp_path / "in.txt", "--output", out, *greedy, "--log-probabilities", 1
    )
    assert capsys.readouterr().out == f"{out}\n"
    assert [len(row["tokens"]) for row in rows(out)] == [4, 4]
    assert {len(token["top"]) for row in rows(out) for token in row["tokens"]} == {1}
    run(
        "generate",
        folder,
        "Row",
        *greedy,
        "--typical-p",
        0.9,
        "--json",
        "--bad-words",
        ",",
        "--bad-words",
        "row",
    )
    said = json.loads(capsys.readouterr().out)
    assert said["prompt"] == "Row"
    assert not {",", "row"} & set(said["text"].split())
    run("generate", folder, "Is it?", "--chat", *greedy, "--choice", "是", "--choice", "否")
    assert capsys.readouterr().out in ("是\n", "否\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--log-probabilities", 1), "--json"),
        (("--beams", 2, "--top-p", 0.5), "Beam search has no top_p"),
        (("--typicl-p", 1), "did you mean typical_p"),
        (("--typical-p", 2), "typical_p > 0 and <= 1"),
        (("--regex", "a", "--choice", "b"), "regex and choices exclude each other"),
        (("--output", "x.csv"), "does not say"),
        (("--template", "summarize"), "Did you mean summarise"),
        (("--var", "x"), "not a name and a value"),
        (("--n", 0), "n must be >= 1"),
        (("--adapter", "nowhere"), "nowhere"),
        (("--json-schema", __file__), "is not JSON"),
    ],
)
def test_wrong_options_are_refused(folder: Path, arguments: tuple[object, ...], says: str) -> None:
    with pytest.raises(HanlinError) as caught:
        run("generate", folder, "Row", *arguments)
    assert says in str(caught.value)
