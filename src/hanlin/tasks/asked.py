"""Records as prompts: a template with places for what a record holds."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from hanlin.base.errors import ConfigError, DataError
from hanlin.base.language import Text
from hanlin.batches.written import Asking

Language = Literal["en", "zh"]
"""Of default prompts."""


@dataclass(frozen=True)
class Asked:
    """A record as a prompt: a template, the texts that fill its places, and the name of the one that may be cut."""

    template: str
    fields: Mapping[str, str]
    cuttable: str
    place: str = ""

    @property
    def text(self) -> str:
        """What may be cut."""
        return self.fields[self.cuttable]

    def prompt(self, text: str) -> str:
        """The prompt with `text` in place of what may be cut. Raises `DataError` for a place that the record cannot fill."""

        def fill(found: re.Match[str]) -> str:
            name = found.group(1)
            if name == self.cuttable:
                return text
            if name not in self.fields:
                raise _nothing_for(name, self)
            return self.fields[name]

        return re.sub(r"\{(\w+)\}", fill, self.template)

    def no_room(self, room: int) -> ConfigError:
        """The error for a prompt that is too long without any of its text."""
        return ConfigError(
            Text(f"The prompt of record {self.place} leaves no room for its text within {room} tokens.",
                 f"记录 {self.place} 的提示在 {room} 个词元内没有给其文本留出空间。"),
            Text("Shorten the prompt, show fewer shots, or lower max_new_tokens.", "请缩短提示，减少示例，或调低 max_new_tokens。"),
        )  # fmt: skip


def length_in(asking: Asking, asked: Asked, text: str) -> int:
    """Tokens of the prompt with this text."""
    return len(asking.prompt_ids(asked.prompt(text)))


def is_chinese(text: str) -> bool:
    """Whether a quarter of the characters or more are Chinese."""
    written = "".join(text.split())
    return 4 * sum("\u4e00" <= character <= "\u9fff" for character in written) > len(written)


def _nothing_for(name: str, asked: Asked) -> DataError:
    there = ", ".join(asked.fields)
    return DataError(
        Text(f"The prompt asks for {{{name}}}, which record {asked.place} does not have; it has {there}.",
             f"提示中的 {{{name}}} 在记录 {asked.place} 中不存在；该记录有 {there}。"),
        Text("Mend the prompt or the record.", "请修改提示或该记录。"),
    )  # fmt: skip
