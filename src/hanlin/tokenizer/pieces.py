"""The bytes behind tokens, where every token of a vocabulary is a fixed string of bytes."""

import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from hanlin.corpus.units import UNSPACED

BYTE_PIECES = tuple(f"<0x{byte:02X}>" for byte in range(256))
"""The pieces that stand for single bytes in vocabularies over characters (SentencePiece's byte fallback)."""

_UNSPACED = re.compile(f"[{UNSPACED}]")

_BYTE_OF_PIECE = {piece: bytes([byte]) for byte, piece in enumerate(BYTE_PIECES)}


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


def bytes_reader(definition: Mapping[str, Any]) -> Callable[[str], bytes] | None:
    """What gives the bytes of a piece of a parsed `tokenizer.json`, None where they depend on the pieces
    around it."""
    if is_byte_level(definition):
        return bytes_of
    return _bytes_or_characters if _is_plain_with_bytes(definition) else None


def written_reader(definition: Mapping[str, Any]) -> Callable[[str], bytes]:
    """What gives the bytes that a piece of any parsed `tokenizer.json` puts into a text.

    They are exact where `bytes_reader` has an answer. Elsewhere they are near enough to see where words begin and end:
    a mark that stands for a space is one, and so is the beginning of a WordPiece, but for Han characters, which
    BERT cuts apart though nothing stands between them.
    """
    exact = bytes_reader(definition)
    if exact is not None:
        return exact
    model = definition["model"]
    continues, ends = model.get("continuing_subword_prefix"), model.get("end_of_word_suffix") or None

    def written(piece: str) -> bytes:
        if piece in _BYTE_OF_PIECE and model.get("byte_fallback"):
            return _BYTE_OF_PIECE[piece]
        if continues:
            inner = piece.startswith(continues) or _UNSPACED.match(piece)
            return (piece.removeprefix(continues) if inner else f" {piece}").encode()
        if ends:
            return (piece.removesuffix(ends) + " " * piece.endswith(ends)).encode()
        return piece.replace("▁", " ").encode()

    return written


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


def _is_plain_with_bytes(definition: Mapping[str, Any]) -> bool:
    """Whether it is a vocabulary of plain strings, nothing standing for a space, with bytes for the rest."""
    decoder = {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]}
    return (
        definition.get("decoder") == decoder
        and definition["model"].get("byte_fallback") is True
        and definition.get("normalizer") is None
        and (definition.get("pre_tokenizer") or {}).get("type") == "Split"
    )


def _bytes_or_characters(piece: str) -> bytes:
    return _BYTE_OF_PIECE.get(piece) or piece.encode()
