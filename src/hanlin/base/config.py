"""Settings: frozen Pydantic models read from YAML with dotted overrides; every mistake names its line."""

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, UnionType
from typing import Any, ClassVar, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from hanlin.base.errors import ConfigError
from hanlin.base.language import Text


class Settings(BaseModel):
    """Base of every configuration: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    shorthands: ClassVar[tuple[str, ...]] = ()
    """Keys that a validator expands before the fields are read."""


SettingsT = TypeVar("SettingsT", bound=BaseModel)


def read_settings(
    schema: type[SettingsT],
    path: Path,
    overrides: Sequence[str] = (),
    given: Mapping[str, Any] = MappingProxyType({}),
) -> SettingsT:
    """Read `path` (YAML), lay `given` over it, apply `overrides` ("model.layers=6"), validate against `schema`.

    Raises `ConfigError` for a missing file, malformed YAML, unknown keys (naming the nearest known one),
    wrong types and impossible values, with the line of the file or the override at fault.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    text = _read_text(path)
    lines = _key_lines(text, path)
    if "${oc.env" in text + " ".join(overrides):
        raise _unreadable(path, "${oc.env:...}: environment variables do not change what a recipe means")
    try:
        tree = OmegaConf.create(text or "{}")
        if not OmegaConf.is_dict(tree):
            raise _unreadable(path, "the top level must be `key: value` lines")
        tree = _override(OmegaConf.merge(tree, OmegaConf.create(dict(given))), overrides)
        values = OmegaConf.to_container(tree, resolve=True)
    except (OmegaConfBaseException, yaml.YAMLError, ValueError) as error:
        raise _unreadable(path, str(error)) from error
    assert isinstance(values, dict)
    return validate_settings(schema, values, where=str(path), lines=lines, overrides=overrides)


def settings_from_overrides(
    schema: type[SettingsT], overrides: Sequence[str], given: Mapping[str, Any] = MappingProxyType({})
) -> SettingsT:
    """Defaults of `schema`, under `given`, under overrides ("port=8001"); raises `ConfigError` as `read_settings`."""
    from omegaconf import OmegaConf

    values = OmegaConf.to_container(_override(OmegaConf.create(dict(given)), overrides))
    assert isinstance(values, dict)
    return validate_settings(schema, values, where=schema.__name__, overrides=overrides)


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
        details = error.errors()
        mistakes = [
            _describe(schema, detail, where, lines or {}, overrides)
            for detail in details
            if not _follows_from_others(detail, details)
        ]
        raise ConfigError(
            Text("\n".join(text.en for text in mistakes), "\n".join(text.zh for text in mistakes)),
            Text("Mend the lines above and run again.", "请修改以上各处后重新运行。"),
        ) from error


def place_of(path: Path, keys: tuple[str, ...], overrides: Sequence[str] = ()) -> str:
    """Where a setting of a recipe is said: 'recipe.yaml:12', or the override that says it."""
    return _place(keys, str(path), _key_lines(_read_text(path), path), overrides)


def mistakes(error: ValidationError) -> Text:
    """What is wrong with values that stand in no recipe, in one line: key, reason and value of each."""
    said = [
        (".".join(map(str, detail["loc"])), *_reason(detail), f"{detail['input']!r:.80}")
        for detail in error.errors()
    ]
    return Text(
        "; ".join(f"{key}: {reason} (got {value})" if key else reason for key, reason, _, value in said),
        "；".join(f"{key}：{reason}（得到 {value}）" if key else reason for key, _, reason, value in said),
    )


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


def _override(tree: Any, overrides: Sequence[str]) -> Any:
    """The OmegaConf `tree` with `overrides` applied; raise `ConfigError` naming the one that cannot be."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    for override in overrides:
        try:
            if "=" not in override:
                raise ValueError("it has no '='")
            tree = OmegaConf.merge(tree, OmegaConf.from_dotlist([override]))
        except (OmegaConfBaseException, yaml.YAMLError, ValueError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(
                Text(
                    f"Override {override!r} cannot be applied: {reason}.",
                    f"覆盖项 {override!r} 无法应用：{reason}。",
                ),
                Text(
                    "Write it as section.key=value, for example model.layers=6; a list is given whole: key=[a,b].",
                    "请写成 section.key=value，例如 model.layers=6；列表须整体给出：key=[a,b]。",
                ),
            ) from error
    return tree


def _key_lines(text: str, path: Path) -> dict[tuple[str, ...], int]:
    """The line number of every key path in a YAML text."""
    lines: dict[tuple[str, ...], int] = {}

    def walk(node: yaml.Node | None, prefix: tuple[str, ...]) -> None:
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    raise _unreadable(
                        path, f"line {key.start_mark.line + 1}: a key is a list or a mapping, not a name"
                    )
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


def _follows_from_others(detail: ErrorDetails, details: Sequence[ErrorDetails]) -> bool:
    """Whether a list is only too short because its items, named elsewhere, are wrong."""
    place = detail["loc"]
    return detail["type"] == "too_short" and any(
        other["loc"][: len(place)] == place and other is not detail for other in details
    )


def _describe(
    schema: type[BaseModel],
    detail: ErrorDetails,
    where: str,
    lines: Mapping[tuple[str, ...], int],
    overrides: Sequence[str],
) -> Text:
    """One mistake as a sentence with its place."""
    parts = tuple(str(part) for part in detail["loc"] if not str(part).startswith("function-"))
    location, _ = _walk(schema, parts)
    key = ".".join(location)
    place = _place(location, where, lines, overrides)
    if detail["type"] == "extra_forbidden":
        near = difflib.get_close_matches(location[-1], _known_keys(schema, parts[:-1]), n=1, cutoff=0.5)
        hint_en = f" Did you mean '{near[0]}'?" if near else ""
        hint_zh = f"是否想写“{near[0]}”？" if near else ""
        return Text(f"{place}: unknown key '{key}'.{hint_en}", f"{place}：未知的键“{key}”。{hint_zh}")
    if detail["type"] == "missing":
        return Text(f"{place}: '{key}' is missing.", f"{place}：缺少“{key}”。")
    reason, reason_zh = _reason(detail)
    return Text(
        f"{place}: {key}: {reason} (got {detail['input']!r:.80})" if key else f"{place}: {reason}",
        f"{place}：{key}：{reason_zh}（得到 {detail['input']!r:.80}）" if key else f"{place}：{reason_zh}",
    )


_REASONS_ZH = {
    "int_type": "应为整数",
    "int_parsing": "应为整数",
    "int_from_float": "应为整数",
    "float_type": "应为数字",
    "float_parsing": "应为数字",
    "bool_type": "应为 true 或 false",
    "bool_parsing": "应为 true 或 false",
    "string_type": "应为文本",
    "tuple_type": "应为列表",
    "too_short": "至少要有 {min_length} 项",
    "string_too_short": "至少要有 {min_length} 个字符",
    "greater_than": "应大于 {gt}",
    "greater_than_equal": "应不小于 {ge}",
    "less_than": "应小于 {lt}",
    "less_than_equal": "应不大于 {le}",
    "literal_error": "应为 {expected}",
}


def _reason(detail: ErrorDetails) -> tuple[str, str]:
    """What is wrong with a value, in English and Chinese; the words of our own validators stay as they are."""
    if detail["type"] == "model_type":
        return (
            "must be `key: value` settings; leave the key out for the defaults",
            "应为若干“键: 值”设置；要用默认值请去掉该键",
        )
    if detail["type"] == "path_type":
        return "must be a path, written as text", "应为写作文本的路径"
    reason = detail["msg"].removeprefix("Value error, ")
    values = {name: str(value).replace(" or ", " 或 ") for name, value in detail.get("ctx", {}).items()}
    return reason, _REASONS_ZH.get(detail["type"], "").format(**values) or reason


def _place(
    location: tuple[str, ...], where: str, lines: Mapping[tuple[str, ...], int], overrides: Sequence[str]
) -> str:
    """The override or the file line that a key path came from; a whole section may come from both."""
    paths = {override: tuple(override.split("=", 1)[0].split(".")) for override in overrides}
    for override, path in paths.items():
        if path == location[: len(path)]:
            return override
    inside = [override for override, path in paths.items() if path[: len(location)] == location]
    if inside and location not in lines:
        return " + ".join(inside)
    while location and location not in lines:
        location = location[:-1]
    line = f":{lines[location]}" if location else ""
    return " + ".join([f"{where}{line}", *inside])


def _walk(schema: type[BaseModel], parts: Sequence[str]) -> tuple[tuple[str, ...], list[type[BaseModel]]]:
    """The keys of a Pydantic location, without the union branches in it, and the classes it leads to."""
    keys: list[str] = []
    models = [schema]
    for part in parts:
        branch = [model for model in models if model.__name__ == part]
        if branch:
            models = branch
        elif part.isdigit():
            keys.append(part)
        elif models and "[" not in part:
            keys.append(part)
            fields = [model.model_fields[part] for model in models if part in model.model_fields]
            if fields:  # else it is a key of a mapping of settings
                models = [inner for field in fields for inner in _models_in(field.annotation)]
    return tuple(keys), models


def _known_keys(schema: type[BaseModel], parts: Sequence[str]) -> list[str]:
    """The keys that the schema knows at a place inside it."""
    _, models = _walk(schema, parts)
    return [name for model in models for name in [*model.model_fields, *getattr(model, "shorthands", ())]]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """All settings classes that an annotation mentions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, UnionType) or get_args(annotation):
        return [model for inner in get_args(annotation) for model in _models_in(inner)]
    return []


def json_or_text(text: str) -> Any:
    """A value that a person typed: as JSON where it is an object or a list, else as it stands."""
    try:
        return json.loads(text) if text[:1] in ("{", "[") else text
    except ValueError:
        return text  # a text may begin so too; where none is wanted, the check of the setting says so
