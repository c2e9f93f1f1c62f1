"""Text to ids, so that no text ever becomes a special token."""

import json
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import tiktoken
import tokenizers

from hanlin.tokenizer.beginning import begin_mark, without_begin_mark
from hanlin.tokenizer.bulk import bulk_encoding
from hanlin.tokenizer.refusals import surrogate, unspeakable


class TextEncoder:
    """The way from text to ids of one `tokenizer.json`."""

    def __init__(
        self, rust: tokenizers.Tokenizer, definition: Mapping[str, Any], unknown: str | None
    ) -> None:
        """`rust` is `definition` compiled; `unknown` is the token of unknown characters, which text does
        produce."""
        self._rust = _for_text(rust)
        self._definition = definition
        added = rust.get_added_tokens_decoder()
        self._special = {id: token.content for id, token in added.items() if token.special}
        ordinary = [re.escape(token.content) for token in added.values() if not token.special]
        self._ordinary_added = re.compile("|".join(ordinary) or r"(?!)")
        by_index = definition["model"].get("unk_id")
        self._forbidden = self._special.keys() - {rust.token_to_id(unknown) if unknown else None, by_index}
        self._begin_mark = begin_mark(definition)

    def encode(self, text: str) -> list[int]:
        """See `Tokenizer.encode`."""
        return self._encode(text, self._rust)

    def encode_spans(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """See `Tokenizer.encode_spans`."""
        ids: list[int] = []
        spans: list[tuple[int, int]] = []
        for place, part in self._parts(text, self._rust):
            ids += part.ids
            spans += [(place + start, place + stop) for start, stop in part.offsets]
        return ids, spans

    def encode_inside(self, text: str, after_special: bool) -> list[int]:
        """See `Tokenizer.encode_inside`."""
        if self._begin_mark == "never" or (self._begin_mark == "always" and after_special):
            return self.encode(text)
        return self._encode(text, self._unmarked)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """See `Tokenizer.encode_batch`."""
        try:
            "".join(texts).encode()
        except UnicodeEncodeError as error:
            raise surrogate("".join(texts)) from error
        if self._bulk is None or any(map(self._ordinary_added.search, texts)):
            rows = [row.ids for row in self._rust.encode_batch_fast(list(texts), add_special_tokens=False)]
            return [
                ids if self._forbidden.isdisjoint(ids) else self.encode(text)
                for text, ids in zip(texts, rows, strict=True)
            ]
        normalizer = self._rust.normalizer
        if normalizer is not None:
            texts = [normalizer.normalize_str(text) for text in texts]
        return self._bulk.encode_ordinary_batch(list(texts))

    @property
    def has_bulk_encoding(self) -> bool:
        """Whether `encode_batch` runs on `tiktoken`, which does not know added tokens that are not
        special."""
        return self._bulk is not None

    @cached_property
    def _bulk(self) -> tiktoken.Encoding | None:
        return bulk_encoding(self._definition)

    @cached_property
    def _unmarked(self) -> tokenizers.Tokenizer:
        """The same vocabulary for text that something stands before."""
        definition = json.dumps(without_begin_mark(self._definition))
        return _for_text(tokenizers.Tokenizer.from_str(definition))

    def _encode(self, text: str, rust: tokenizers.Tokenizer) -> list[int]:
        return [id for _, part in self._parts(text, rust) for id in part.ids]

    def _parts(self, text: str, rust: tokenizers.Tokenizer) -> list[tuple[int, tokenizers.Encoding]]:
        """`text` encoded, as a whole if that can be, each part with the place where it begins."""
        whole = _encode(text, rust)
        if self._forbidden.isdisjoint(whole.ids):
            return [(0, whole)]
        parts: list[tuple[int, tokenizers.Encoding]] = []
        place = 0
        for piece in self._cut_names(text):
            parts.append((place, _encode(piece, self._unmarked if parts else rust)))
            place += len(piece)
        ids = {id for _, part in parts for id in part.ids}
        if not self._forbidden.isdisjoint(ids):
            raise unspeakable(self._special[min(self._forbidden.intersection(ids))])
        return parts

    def _cut_names(self, text: str) -> list[str]:
        """`text` cut within each name of a special token: unigram vocabularies hold those names as pieces."""
        names = sorted((self._special[id] for id in self._forbidden), key=lambda name: (-len(name), name))
        cut = re.compile(
            "|".join(f"(?<={re.escape(name[0])})(?={re.escape(name[1:])})" for name in names if name[1:])
        )
        return cut.split(text)


def _for_text(rust: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    rust.encode_special_tokens = True  # "<|im_end|>" in a text is ten characters, not a token
    rust.no_truncation()
    return rust


def _encode(text: str, rust: tokenizers.Tokenizer) -> tokenizers.Encoding:
    try:
        return rust.encode(text, add_special_tokens=False)
    except (TypeError, UnicodeEncodeError) as error:
        raise surrogate(text) from error
