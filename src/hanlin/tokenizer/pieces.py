"""The bytes behind the tokens of a byte-level vocabulary."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any


@cache
def byte_of_character() -> dict[str, int]:
    """The inverse of GPT-2's `bytes_to_unicode`: printable Latin-1 stands for itself, the rest for U+0100
    and up.

    Source: Radford et al. 2019, `encoder.py` of the published code.
    """
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    others = [byte for byte in range(256) if byte not in set(printable)]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}


def bytes_of(piece: str) -> bytes:
    """The bytes that a byte-level token stands for."""
    table = byte_of_character()
    return bytes(table[character] for character in piece)


def is_byte_level(definition: Mapping[str, Any]) -> bool:
    """Whether a parsed `tokenizer.json` is BPE over bytes, where every token is a fixed string of bytes."""
    model = definition.get("model") or {}
    pretokenizer = json.dumps(definition.get("pre_tokenizer"))
    decoder = definition.get("decoder") or {}
    return (
        (model.get("type") or "BPE") == "BPE"
        and '"ByteLevel"' in pretokenizer
        and decoder.get("type") == "ByteLevel"
        and not model.get("continuing_subword_prefix")
        and not model.get("end_of_word_suffix")
        and all(set(piece) <= byte_of_character().keys() for piece in _ordinary(definition))
    )


def _ordinary(definition: Mapping[str, Any]) -> list[str]:
    added = {token["content"] for token in definition.get("added_tokens") or ()}
    return [piece for piece in definition["model"]["vocab"] if piece not in added]
