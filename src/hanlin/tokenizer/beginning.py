"""Vocabularies that put a mark, most often "▁", where a text begins."""

from collections.abc import Mapping
from typing import Any, Literal

Scheme = Literal["never", "first", "always"]
"""Whether the mark stands at the beginning of the whole text only, or also after every special token."""


def begin_mark(definition: Mapping[str, Any]) -> Scheme:
    """What a parsed `tokenizer.json` says about the mark."""
    schemes = {_scheme(part) for part in _parts(definition)}
    return "always" if "always" in schemes else "first" if "first" in schemes else "never"


def without_begin_mark(definition: Mapping[str, Any]) -> dict[str, Any]:
    """The same definition, for text that something stands before."""
    return {**definition, **{key: _unmarked(definition.get(key)) for key in ("normalizer", "pre_tokenizer")}}


def _parts(definition: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The steps of normalizer and pre-tokenizer, sequences taken apart."""
    waiting = [definition.get("normalizer"), definition.get("pre_tokenizer")]
    parts: list[Mapping[str, Any]] = []
    for part in waiting:
        if part is not None:
            parts.append(part)
            waiting += [*part.get("normalizers", ()), *part.get("pretokenizers", ())]
    return parts


def _scheme(part: Mapping[str, Any]) -> Scheme:
    match part:
        case {"type": "Prepend"} | {"type": "ByteLevel", "add_prefix_space": True}:
            return "always"
        case {"type": "Metaspace", "prepend_scheme": "first"}:
            return "first"
        case {"type": "Metaspace", "prepend_scheme": "always"}:
            return "always"
        case {"type": "Metaspace", "add_prefix_space": True} if "prepend_scheme" not in part:
            return "always"  # files from before 2024
    return "never"


def _unmarked(part: Mapping[str, Any] | None) -> dict[str, Any] | None:
    match part:
        case None | {"type": "Prepend"}:
            return None
        case {"type": "ByteLevel"}:
            return {**part, "add_prefix_space": False}
        case {"type": "Metaspace"}:
            return {**part, "prepend_scheme": "never", "add_prefix_space": False}
        case {"type": "Sequence"}:
            inner = {
                key: [kept for step in part[key] if (kept := _unmarked(step)) is not None]
                for key in ("normalizers", "pretokenizers")
                if key in part
            }
            return {**part, **inner}
    return dict(part)
