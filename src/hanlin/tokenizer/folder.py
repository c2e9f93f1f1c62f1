"""What the files of a tokenizer say: `tokenizer.json`, and beside it the special ids and the chat
template."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from hanlin.base.errors import CheckpointError
from hanlin.base.language import Text

DEFINITION = "tokenizer.json"
TEMPLATE = "chat_template.jinja"
_SLOW = (
    *("tokenizer.model", "sentencepiece.bpe.model", "spiece.model", "spm.model", "source.spm", "target.spm"),
    *("vocab.json", "merges.txt", "vocab.txt", "vocab.bpe", "tokenizer.bin"),
)
"""Files of tokenizers as they were before `tokenizer.json`."""
_SETTINGS = ("tokenizer_config.json", "special_tokens_map.json", "generation_config.json", "config.json")


@dataclass(frozen=True)
class TokenizerFiles:
    """The texts of a tokenizer's files, and the settings in them, the most telling file first."""

    texts: dict[str, str]
    settings: dict[str, dict[str, Any]] = field(repr=False)
    place: str

    def named(self, role: str) -> str | None:
        """The text of the token that plays `role` ("eos", "bos", "pad"), if a file names it."""
        for settings in self.settings.values():
            value = settings.get(f"{role}_token")
            value = value.get("content") if isinstance(value, dict) else value
            if isinstance(value, str) and value:
                return value
        return None

    def numbered(self, role: str) -> Iterator[int]:
        """The ids that play `role` according to `generation_config.json` and `config.json`."""
        for settings in self.settings.values():
            value = settings.get(f"{role}_token_id")
            yield from (id for id in (value if isinstance(value, list) else [value]) if isinstance(id, int))

    def side(self, of: str) -> Literal["left", "right"]:
        """The side of "padding" or "truncation": right where no file says left."""
        return "left" if self._settings.get(f"{of}_side") == "left" else "right"

    @property
    def chat_templates(self) -> dict[str, str]:
        """The sources of the chat templates by name, "default" for plain conversations: of their own file,
        or from `tokenizer_config.json`."""
        value = self._settings.get("chat_template")
        if TEMPLATE in self.texts:
            value = self.texts[TEMPLATE]
        if isinstance(value, str):
            return {"default": value}
        entries = value if isinstance(value, list) else []
        named = [(entry.get("name"), entry.get("template")) for entry in entries if isinstance(entry, dict)]
        return {name: source for name, source in named if isinstance(name, str) and isinstance(source, str)}

    @property
    def chat_template(self) -> str | None:
        """The source of the chat template for plain conversations."""
        return self.chat_templates.get("default")

    @property
    def _settings(self) -> dict[str, Any]:
        return self.settings.get("tokenizer_config.json", {})


def read_tokenizer_files(folder: Path) -> TokenizerFiles:
    """Read the files in `folder`. Raises `CheckpointError` when `tokenizer.json` is missing or a file is
    damaged."""
    if not (folder / DEFINITION).is_file():
        raise _missing(folder)
    texts, settings = {}, {}
    for name in (DEFINITION, TEMPLATE, *_SETTINGS):
        path = folder / name
        if path.is_file():
            texts[name] = _read(path)
            if name in _SETTINGS:
                settings[name] = parse_object(texts[name], str(path))
    carried = {name: texts[name] for name in (DEFINITION, TEMPLATE, *_SETTINGS[:2]) if name in texts}
    return TokenizerFiles(carried, settings, str(folder))


def parse_object(text: str, place: str) -> dict[str, Any]:
    """Parse a JSON object; raises `CheckpointError` naming `place` when it is not one."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise damaged(place, str(error)) from error
    if not isinstance(value, dict):
        raise damaged(place, "not a JSON object")
    return value


def damaged(place: str, reason: str) -> CheckpointError:
    """The error for a file that cannot be understood."""
    return CheckpointError(
        Text(f"{place} is damaged: {reason}", f"{place} 已损坏：{reason}"),
        Text(
            "Restore the file from a copy, or make the folder again.",
            "请从备份恢复该文件，或重新生成该目录。",
        ),
    )


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise damaged(str(path), str(error)) from error


def _missing(folder: Path) -> CheckpointError:
    others = [name for name in _SLOW if (folder / name).is_file()]
    if not folder.is_dir():
        return CheckpointError(
            Text(f"There is no folder {folder}.", f"目录 {folder} 不存在。"),
            Text("Give the folder that a stage printed.", "请给出某个阶段所打印的目录。"),
        )
    found = f" (it has {', '.join(others)})" if others else ""
    found_zh = f"（其中有 {'、'.join(others)}）" if others else ""
    return CheckpointError(
        Text(
            f"{folder} has no {DEFINITION}{found}: it holds no tokenizer that can be read.",
            f"{folder} 中没有 {DEFINITION}{found_zh}，无法读取分词器。",
        ),
        _how_to_convert(others),
    )


def _how_to_convert(others: list[str]) -> Text:
    if "source.spm" in others:  # Marian, for which transformers has no converter either
        return Text(
            f"Use a copy of the model that carries a {DEFINITION}: transformers cannot make one from "
            "source.spm and target.spm.",
            f"请使用带有 {DEFINITION} 的该模型副本：transformers 无法由 source.spm 和 target.spm 生成它。",
        )
    return Text(
        f"Put the {DEFINITION} of the model there. From older files, transformers makes one: "
        "AutoTokenizer.from_pretrained(folder).save_pretrained(folder)",
        f"请把该模型的 {DEFINITION} 放到这里。旧格式的文件可以用 transformers 转换："
        "AutoTokenizer.from_pretrained(folder).save_pretrained(folder)",
    )
