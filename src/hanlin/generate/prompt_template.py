"""Prompts with places to fill in: small versioned YAML files in Chinese and English, shipped or a person's own.

The texts are Jinja, run in the same sandbox as chat templates.
"""

import difflib
import json
import re
from collections.abc import Mapping
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import jinja2
from jinja2 import meta
from pydantic import Field

from hanlin.base.config import Settings, read_settings
from hanlin.base.errors import CheckpointError, ConfigError, RequestError
from hanlin.base.language import Text
from hanlin.base.records import Message
from hanlin.tokenizer.jinja import SandboxedTemplate, TemplateRefusal

FOLDER = Path(__file__).parent / "templates"

Language = Literal["en", "zh"]

_HAN = re.compile(r"[\u3400-\u9fff]")


class Wording(Settings):
    """A prompt in one language. system: instructions that stand before it, for models that converse."""

    text: str
    system: str | None = None


class Example(Settings):
    """Variables, and the text that they must give: a template that says something else by mistake is found out."""

    language: Language
    given: dict[str, Any]
    text: str


class PromptTemplate(Settings):
    """A prompt with variables.

    version: to be raised whenever the same variables would give other words. json_schema: of the answer; it is also the variable
    `json_schema` of the text. choices: the variable that lists all permitted answers.
    """

    name: str
    version: int = Field(ge=1)
    about: dict[Language, str]
    variables: dict[str, str]
    """What stands for each."""
    defaults: dict[str, Any] = Field(default_factory=dict)
    """Values of variables that need not be given."""
    wording: dict[Language, Wording] = Field(min_length=1)
    json_schema: dict[str, Any] | None = None
    choices: str | None = None
    examples: tuple[Example, ...] = Field(min_length=1)

    def render(self, given: Mapping[str, Any], language: Language | None = None) -> list[Message]:
        """The prompt as a conversation of one turn, after the system's if there is one.

        language: by default Chinese where a value holds Chinese characters, else English.
        Raises `RequestError` for variables that are missing or unknown, naming them, and for a language it has not.
        """
        self._check(given)
        values = {**self.defaults, **given}
        wording = self.wording[self.language(given, language)]
        values["json_schema"] = json.dumps(self.json_schema, ensure_ascii=False)
        said = [Message(role="user", content=self._fill(wording.text, values).strip())]
        if wording.system is None:
            return said
        return [Message(role="system", content=self._fill(wording.system, values).strip()), *said]

    def language(self, given: Mapping[str, Any], asked: Language | None = None) -> Language:
        """The language that `render` writes in."""
        if asked is not None and asked not in self.wording:
            there = ", ".join(self.wording)
            raise RequestError(
                Text(f"The template {self.name} has no {asked}; it has: {there}.", f"模板 {self.name} 没有 {asked}；现有：{there}。"),
                Text("Choose one of these.", "请选择其中之一。"),
            )  # fmt: skip
        chinese = _HAN.search(json.dumps(list(given.values()), ensure_ascii=False, default=str))
        language: Language = asked or ("zh" if chinese else "en")
        return language if language in self.wording else next(iter(self.wording))

    def constraint(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The sampling parameters that hold the answer to what the template asks for; empty where anything goes."""
        if self.choices is not None:
            return {"choices": tuple(map(str, {**self.defaults, **given}[self.choices]))}
        return {} if self.json_schema is None else {"json_schema": self.json_schema}

    @cached_property
    def needed(self) -> list[str]:
        """Variables that must be given."""
        return [name for name in self.variables if name not in self.defaults]

    def _check(self, given: Mapping[str, Any]) -> None:
        missing = [name for name in self.needed if name not in given]
        unknown = [name for name in given if name not in self.variables]
        if not missing and not unknown:
            return
        near = difflib.get_close_matches(unknown[0], self.variables, 1) if unknown else []
        en = [f"no value for {', '.join(missing)}"] * bool(missing) + [
            f"unknown: {', '.join(unknown)}"
        ] * bool(unknown)
        zh = [f"缺少 {'、'.join(missing)}"] * bool(missing) + [f"未知的变量 {'、'.join(unknown)}"] * bool(
            unknown
        )
        about = "; ".join(f"{name} ({what})" for name, what in self.variables.items())
        raise RequestError(
            Text(f"The template {self.name}: {'; '.join(en)}." + (f" Did you mean {near[0]}?" if near else ""),
                 f"模板 {self.name}：{'；'.join(zh)}。" + (f"是否想写 {near[0]}？" if near else "")),
            Text(f"Its variables are: {about}.", f"它的变量有：{about}。"),
        )  # fmt: skip

    def _fill(self, source: str, values: Mapping[str, Any]) -> str:
        try:
            return SandboxedTemplate(source, "", "").render(values, datetime.min)
        except CheckpointError as error:
            raise _invalid(self.name, error.__cause__ or error) from error
        except (
            jinja2.TemplateError,
            TemplateRefusal,
            TypeError,
            ValueError,
            ArithmeticError,
            LookupError,
        ) as error:
            raise _invalid(self.name, error) from error


def load_template(name: str) -> PromptTemplate:
    """A template that is shipped, by its name, or a person's own, by the path of its YAML file.

    Raises `ConfigError` for one that is not there, malformed, uses a variable it does not declare or declares one it does
    not use.
    """
    path = FOLDER / f"{name}.yaml" if name in template_names() else Path(name)
    if not path.is_file():
        near = difflib.get_close_matches(name, template_names(), 1)
        raise ConfigError(
            Text(f"There is no template {name}." + (f" Did you mean {near[0]}?" if near else ""),
                 f"没有模板 {name}。" + (f"是否想写 {near[0]}？" if near else "")),
            Text(f"Give a YAML file, or one of {', '.join(template_names())}.",
                 f"请给出 YAML 文件，或 {'、'.join(template_names())} 之一。"),
        )  # fmt: skip
    template = read_settings(PromptTemplate, path)
    _check_variables(template)
    return template


def template_names() -> list[str]:
    """Those that are shipped."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def _check_variables(template: PromptTemplate) -> None:
    declared = set(template.variables)
    for language, wording in template.wording.items():
        try:
            parsed = [jinja2.Environment().parse(part) for part in (wording.text, wording.system or "")]
        except jinja2.TemplateError as error:
            raise _invalid(template.name, error) from error
        used = set().union(*(meta.find_undeclared_variables(tree) for tree in parsed)) - {"json_schema"}
        if used != declared:
            raise _invalid(
                template.name,
                f"{language}: variables {sorted(used)} are used, {sorted(declared)} are declared",
            )
    odd = ({*template.defaults} | ({template.choices} if template.choices else set())) - declared
    if odd:
        raise _invalid(template.name, f"no such variables: {', '.join(sorted(odd))}")


def _invalid(name: str, reason: object) -> ConfigError:
    return ConfigError(
        Text(f"The prompt template {name} cannot be used: {reason}", f"提示模板 {name} 无法使用：{reason}"),
        Text("Mend it; docs/generate.md shows the form.", "请修改它；格式见 docs/generate.md。"),
    )
