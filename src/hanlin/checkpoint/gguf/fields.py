"""The settings of one architecture in a GGUF header: each is taken once, checked, and none may be left over."""

import difflib
from pathlib import Path
from typing import Any

from hanlin.base.errors import CheckpointError
from hanlin.base.language import Text
from hanlin.checkpoint.gguf.cursor import damaged
from hanlin.checkpoint.gguf.header import Header

CLASSES = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}
"""The architectures of GGUF that are known here, which are also `model_type`s, and their classes."""

_GREATEST = 2**31 - 1
_WITHOUT_EFFECT = ["rope.scaling.finetuned", "tensor_data_layout"]


class Fields:
    """What a header says under the name of its architecture."""

    def __init__(self, header: Header) -> None:
        """Raises `CheckpointError` for an architecture that is not known here."""
        self.header = header
        kind = header.metadata.get("general.architecture")
        if not isinstance(kind, str) or kind not in CLASSES:
            raise unknown_kind(header.path, kind)
        self.kind = kind
        self._left = {
            key.removeprefix(f"{self.kind}."): value
            for key, value in header.metadata.items()
            if key.startswith(f"{self.kind}.")
        }
        self._known = list(_WITHOUT_EFFECT)

    def take(self, key: str, default: Any = None) -> Any:
        """The value of `key`."""
        self._known.append(key)
        return self._left.pop(key, default)

    def whole(self, key: str, default: int | None = None) -> int:
        """A whole number from 1 to 2^31 - 1."""
        value = self.take(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _GREATEST:
            raise self.absurd(key, value)
        return value

    def real(self, key: str, default: float | None = None) -> float:
        """A finite number above 0."""
        value = self.take(key, default)
        if not isinstance(value, float) or not 0 < value < float("inf"):
            raise self.absurd(key, value)
        return value

    def expect(self, key: str, *allowed: Any) -> Any:
        """One of the allowed values; the first where the file says nothing."""
        value = self.take(key, allowed[0])
        if value not in allowed:
            raise self.absurd(key, value)
        return value

    def refuse_the_rest(self) -> None:
        """A setting that is not known here may change what the model computes."""
        for key in sorted(self._left.keys() - set(self._known)):
            near = difflib.get_close_matches(key, self._known, n=1)
            hint = f" (nearest: {self.kind}.{near[0]})" if near else ""
            hint_zh = f"（最接近：{self.kind}.{near[0]}）" if near else ""
            raise CheckpointError(
                Text(f"{self.header.path}: the setting {self.kind}.{key} is not known here{hint}.",
                     f"{self.header.path}：设置项 {self.kind}.{key} 未知{hint_zh}。"),
                other_file(),
            )  # fmt: skip

    def absurd(self, key: str, value: Any) -> CheckpointError:
        """The error for a setting that is missing or cannot be used."""
        path, name = self.header.path, f"{self.kind}.{key}"
        if value is None:
            return damaged(path, f"{name} is missing", f"缺少 {name}")
        shown = repr(value)[:60]
        return CheckpointError(
            Text(f"{path} sets {name} to {shown}, which cannot be used here.",
                 f"{path} 将 {name} 设为 {shown}，无法使用。"),
            other_file(),
        )  # fmt: skip


def other_file() -> Text:
    """What to do about a file that is sound but beyond us."""
    return Text(
        "Use another file of this model, or its Hugging Face folder.",
        "请换用该模型的其他文件，或其 Hugging Face 目录。",
    )


def unknown_kind(path: Path | None, kind: Any) -> CheckpointError:
    """The error for a model that is no Llama or Qwen."""
    where, where_zh = ("This model", "该模型") if path is None else (str(path), f"{path} ")
    return CheckpointError(
        Text(f"{where} is of the kind {kind!r}, which cannot be read from or written to GGUF.",
             f"{where_zh}的类型为 {kind!r}，无法与 GGUF 互相转换。"),
        Text(f"These can: {', '.join(CLASSES)}.", f"可以转换的有：{'、'.join(CLASSES)}。"),
    )  # fmt: skip
