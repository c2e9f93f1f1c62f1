"""What `hanlin generate` continues or answers: prompts from arguments, files and standard input, perhaps through a template."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hanlin.base.errors import DataError, HanlinError, RequestError
from hanlin.base.language import Text
from hanlin.base.records import Message
from hanlin.corpus.record_files import TEXT_FIELDS
from hanlin.generate.conversation import as_messages
from hanlin.generate.prompt_template import Language, PromptTemplate
from hanlin.stages.texts import holds_records, read_lines, read_record, text_field

PROMPT_FIELDS = ("prompt", *TEXT_FIELDS)
"""Where a record's prompt is looked for."""


@dataclass(frozen=True)
class Prompt:
    """A text to continue, or a conversation to answer.

    place: file and line, for errors. beside: the fields of its record, which stay beside the result. held_to: parameters
    of a template that constrain the answer.
    """

    said: str | list[Message]
    place: str = ""
    beside: dict[str, Any] = field(default_factory=dict)
    held_to: dict[str, Any] = field(default_factory=dict)
    from_template: bool = False


@dataclass(frozen=True)
class Reading:
    """How what is given becomes prompts.

    column: of records, the one that holds the prompt; default: the first of `PROMPT_FIELDS`. chat: texts are turns of a user.
    variables: of the template, for all prompts; a record's own come first, and a text is the one that is then missing.
    """

    column: str | None = None
    chat: bool = False
    system: str | None = None
    template: PromptTemplate | None = None
    language: Language | None = None
    variables: dict[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Raise `RequestError` for settings that contradict each other or do nothing."""
        if self.template is None and (self.variables or self.language):
            name = "--var" if self.variables else "--language"
            raise _does_nothing(name, "--template")
        if self.system is not None and not self.chat:
            raise _does_nothing("--system", "--chat")


def read_prompts(
    texts: Iterable[str], files: Iterable[Path], lines: Iterable[str], reading: Reading
) -> Iterator[Prompt]:
    """The texts, then what the files hold; where there is neither, the lines of standard input, as they come.

    A line of a file is a text; one of .jsonl a record, with a prompt, `messages`, or the variables of a template.
    Raises `DataError`, naming file and line, for what is missing or malformed.
    """
    texts, files = list(texts), list(files)
    for text in texts:
        yield _from_text(text, "", reading)
    for path in files:
        for number, line in enumerate(read_lines(path), 1):
            with_place = f"{path}:{number}"
            try:
                if holds_records(path):
                    yield _from_record(path, number, read_record(path, number, line), reading)
                else:
                    yield _from_text(line, with_place, reading)
            except RequestError as error:
                raise at_place(with_place, error) from error
    if not texts and not files:
        for line in lines:
            yield _from_text(line.rstrip("\n"), "", reading)


def at_place(place: str, error: HanlinError) -> HanlinError:
    """The error, with where its cause stands; as it is where that is no place in a file."""
    if not place:
        return error
    problem = error.problem
    return DataError(Text(f"{place}: {problem.en}", f"{place}：{problem.zh}"), error.remedy)


def _from_text(text: str, place: str, reading: Reading) -> Prompt:
    if reading.template is not None:
        missing = [name for name in reading.template.needed if name not in reading.variables]
        if len(missing) != 1:
            raise _one_text(reading.template, missing)
        return _filled(reading.template, {**reading.variables, missing[0]: text}, {}, place, reading)
    return Prompt(_turns(text, reading) if reading.chat else text, place)


def _from_record(path: Path, number: int, record: dict[str, Any], reading: Reading) -> Prompt:
    place = f"{path}:{number}"
    if reading.template is not None:
        own = {name: value for name, value in record.items() if name in reading.template.variables}
        return _filled(reading.template, {**reading.variables, **own}, record, place, reading)
    if reading.column is None and isinstance(record.get("messages"), list):
        others = {name: value for name, value in record.items() if name != "messages"}
        return Prompt(as_messages(record["messages"]), place, others)
    name = reading.column or next((name for name in PROMPT_FIELDS if name in record), "prompt")
    text = text_field(path, number, record, name)
    others = {key: value for key, value in record.items() if key != name}
    return Prompt(_turns(text, reading) if reading.chat else text, place, others)


def _filled(
    template: PromptTemplate, given: dict[str, Any], record: dict[str, Any], place: str, reading: Reading
) -> Prompt:
    said = template.render(given, reading.language)
    return Prompt(said, place, record, template.constraint(given), from_template=True)


def _turns(text: str, reading: Reading) -> list[Message]:
    asked = Message(role="user", content=text)
    return [asked] if reading.system is None else [Message(role="system", content=reading.system), asked]


def _one_text(template: PromptTemplate, missing: list[str]) -> RequestError:
    names = ", ".join(missing) or "none"
    return RequestError(
        Text(f"The template {template.name} still wants {names}; a text can stand for one variable only.",
             f"模板 {template.name} 还需要 {names}；而一段文本只能充当一个变量。"),
        Text("Give the others as --var name=value, or all of them as fields of a .jsonl file.",
             "请用 --var 名称=值 给出其余变量，或把它们写作 .jsonl 文件的字段。"),
    )  # fmt: skip


def _does_nothing(option: str, without: str) -> RequestError:
    return RequestError(
        Text(f"{option} does nothing without {without}.", f"没有 {without} 时，{option} 不起作用。"),
        Text(f"Add {without}, or leave {option} out.", f"请加上 {without}，或去掉 {option}。"),
    )
