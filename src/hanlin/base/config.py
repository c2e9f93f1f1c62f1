"""Settings: frozen Pydantic models read from YAML with dotted overrides; every mistake names its line."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from hanlin.base.errors import ConfigError
from hanlin.base.language import Text


class Settings(BaseModel):
    """Base of every configuration: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


SettingsT = TypeVar("SettingsT", bound=BaseModel)


def read_settings(schema: type[SettingsT], path: Path, overrides: Sequence[str] = ()) -> SettingsT:
    """Read `path` (YAML), apply `overrides` ("model.layers=6"), validate against `schema`.

    Raises `ConfigError` for a missing file, malformed YAML, unknown keys (naming the nearest known one),
    wrong types and impossible values, with the line of the file or the override at fault.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    text = _read_text(path)
    lines = _key_lines(text, path)
    try:
        _check_overrides(overrides)
        tree = OmegaConf.merge(OmegaConf.create(text or "{}"), OmegaConf.from_dotlist(list(overrides)))
        values = OmegaConf.to_container(tree, resolve=True)
    except (OmegaConfBaseException, yaml.YAMLError, ValueError) as error:
        raise _unreadable(path, str(error)) from error
    if not isinstance(values, dict):
        raise _unreadable(path, "the top level must be `key: value` lines")
    return validate_settings(schema, values, where=str(path), lines=lines, overrides=overrides)


def validate_settings(
    schema: type[SettingsT],
    values: Mapping[Any, Any],
    where: str,
    lines: Mapping[tuple[str, ...], int] | None = None,
    overrides: Sequence[str] = (),
) -> SettingsT:
    """Validate `values` against `schema`; raise one `ConfigError` that lists every mistake."""
    try:
        return schema.model_validate(dict(values))
    except ValidationError as error:
        mistakes = [_describe(schema, detail, where, lines or {}, overrides) for detail in error.errors()]
        raise ConfigError(
            Text("\n".join(text.en for text in mistakes), "\n".join(text.zh for text in mistakes)),
            Text("Mend the lines above and run again.", "请修改以上各处后重新运行。"),
        ) from error


def _read_text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ConfigError(
            Text(f"Cannot read {path}: {reason}.", f"无法读取 {path}：{reason}。"),
            Text("Check the path of the recipe.", "请检查配方文件的路径。"),
        ) from error


def _unreadable(path: Path, reason: str) -> ConfigError:
    return ConfigError(
        Text(f"{path} is not valid YAML: {reason}", f"{path} 不是有效的 YAML：{reason}"),
        Text("Mend the recipe at that place.", "请修改配方中的相应位置。"),
    )


def _check_overrides(overrides: Sequence[str]) -> None:
    for override in overrides:
        if "=" not in override:
            raise ConfigError(
                Text(f"Override {override!r} has no '='.", f"覆盖项 {override!r} 缺少“=”。"),
                Text(
                    "Write it as section.key=value, for example model.layers=6.",
                    "请写成 section.key=value，例如 model.layers=6。",
                ),
            )


def _key_lines(text: str, path: Path) -> dict[tuple[str, ...], int]:
    """The line number of every key path in a YAML text."""
    lines: dict[tuple[str, ...], int] = {}

    def walk(node: yaml.Node | None, prefix: tuple[str, ...]) -> None:
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                if key.value in seen:
                    raise _unreadable(
                        path, f"line {key.start_mark.line + 1}: key {key.value!r} appears twice"
                    )
                seen.add(key.value)
                lines[(*prefix, key.value)] = key.start_mark.line + 1
                walk(value, (*prefix, key.value))
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                lines[(*prefix, str(index))] = value.start_mark.line + 1
                walk(value, (*prefix, str(index)))

    try:
        walk(yaml.compose(text, Loader=yaml.SafeLoader), ())
    except yaml.YAMLError as error:
        raise _unreadable(path, str(error)) from error
    return lines


def _describe(
    schema: type[BaseModel],
    detail: ErrorDetails,
    where: str,
    lines: Mapping[tuple[str, ...], int],
    overrides: Sequence[str],
) -> Text:
    """One mistake as a sentence with its place."""
    location = tuple(str(part) for part in detail["loc"] if not str(part).startswith("function-"))
    key = ".".join(location)
    place = _place(location, where, lines, overrides)
    if detail["type"] == "extra_forbidden":
        near = difflib.get_close_matches(location[-1], _known_keys(schema, location[:-1]), n=1, cutoff=0.5)
        hint_en = f" Did you mean '{near[0]}'?" if near else ""
        hint_zh = f"是否想写“{near[0]}”？" if near else ""
        return Text(f"{place}: unknown key '{key}'.{hint_en}", f"{place}：未知的键“{key}”。{hint_zh}")
    reason = detail["msg"].removeprefix("Value error, ")
    return Text(
        f"{place}: {key}: {reason} (got {detail['input']!r:.80})" if key else f"{place}: {reason}",
        f"{place}：{key}：{reason}（得到 {detail['input']!r:.80}）" if key else f"{place}：{reason}",
    )


def _place(
    location: tuple[str, ...], where: str, lines: Mapping[tuple[str, ...], int], overrides: Sequence[str]
) -> str:
    """The override or the file line that a key path came from."""
    for override in overrides:
        path = tuple(override.split("=", 1)[0].split("."))
        if path == location[: len(path)] or location == path[: len(location)]:
            return override
    while location:
        if location in lines:
            return f"{where}:{lines[location]}"
        location = location[:-1]
    return where


def _known_keys(schema: type[BaseModel], location: tuple[str, ...]) -> list[str]:
    """The keys that the schema knows at a place inside it."""
    models = [schema]
    for part in location:
        models = [
            inner
            for model in models
            for name, field in model.model_fields.items()
            if name == part or part.isdigit()
            for inner in _models_in(field.annotation)
        ] or [inner for model in models for inner in [model] if part.isdigit() or part == model.__name__]
    return [name for model in models for name in model.model_fields]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """All settings classes that an annotation mentions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, UnionType) or get_args(annotation):
        return [model for inner in get_args(annotation) for model in _models_in(inner)]
    return []
