"""A tokenizer from the metadata of a GGUF file: what llama.cpp keeps of it, as `tokenizer.json` has it."""

import json
from collections.abc import Sequence
from typing import Any

from hanlin.base.errors import CheckpointError
from hanlin.base.language import Text
from hanlin.checkpoint.gguf.cursor import damaged
from hanlin.checkpoint.gguf.fields import other_file
from hanlin.checkpoint.gguf.header import Header
from hanlin.checkpoint.gguf.splits import ALIASES, SPLITS
from hanlin.tokenizer.folder import DEFINITION, TEMPLATE, TokenizerFiles

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
"""Kinds of tokens in `tokenizer.ggml.token_type`. Source: llama.h, llama_token_type."""

PADDING = "[PAD{}]"
"""What llama.cpp's converter calls a row of the embedding that has no token."""

ROLES = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
"""Our name of a role -> GGUF's."""

SPACE = "▁"
"""How SentencePiece vocabularies write a space."""

_CONFIG = "tokenizer_config.json"


def read_tokenizer(header: Header) -> TokenizerFiles:
    """The files of the tokenizer: byte-level BPE (`gpt2`) or SentencePiece BPE (`llama`).

    Raises `CheckpointError` for other kinds, for cuts of text that are not known here and for lists that do
    not fit together.
    """
    vocabulary = _Vocabulary(header)
    kind = header.metadata.get("tokenizer.ggml.model")
    if kind == "gpt2":
        definition, begins = _byte_level(vocabulary)
    elif kind == "llama":
        definition, begins = _sentence_pieces(vocabulary)
    else:
        raise _unknown(header, "tokenizer.ggml.model", kind, ("gpt2", "llama"))
    begins = vocabulary.get("add_bos_token", bool, begins)
    definition["post_processor"] = _wrap(vocabulary, begins, vocabulary.get("add_eos_token", bool, False))
    named = {f"{role}_token": vocabulary.special(role) for role in ROLES}
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **{role: token for role, token in named.items() if token is not None},
        "clean_up_tokenization_spaces": False,
    }
    templates = _templates(header)
    if templates.keys() - {"default"}:
        settings["chat_template"] = [{"name": name, "template": text} for name, text in templates.items()]
    texts = {
        DEFINITION: json.dumps(definition, ensure_ascii=False),
        _CONFIG: json.dumps(settings, ensure_ascii=False, indent=1) + "\n",
    }
    if templates.keys() == {"default"}:
        texts[TEMPLATE] = templates["default"]
    return TokenizerFiles(texts, {_CONFIG: settings}, str(header.path))


def _templates(header: Header) -> dict[str, str]:
    """The chat templates by name, "default" for plain conversations."""
    key = "tokenizer.chat_template"
    named = header.metadata.get(f"{key}s")
    names = {key: "default"} | {f"{key}.{name}": str(name) for name in named or () if isinstance(named, list)}
    return {
        name: header.metadata[place]
        for place, name in names.items()
        if isinstance(header.metadata.get(place), str)
    }


class _Vocabulary:
    """The lists of the metadata, held against one another."""

    def __init__(self, header: Header) -> None:
        self.header = header
        self.tokens: list[str] = self.list_of(str, "tokens")
        rows = header.tensors["token_embd.weight"].shape[0]
        if len(self.tokens) != rows:
            raise damaged(
                header.path,
                f"it has {len(self.tokens)} tokens and an embedding of {rows} rows",
                f"有 {len(self.tokens)} 个词元，而词嵌入有 {rows} 行",
            )
        self.types: list[int] = self.list_of(int, "token_type", [NORMAL] * rows)
        if len(self.types) != rows:
            raise damaged(header.path, "tokenizer.ggml.token_type is of another length than its tokens",
                          "tokenizer.ggml.token_type 与词元数量不符")  # fmt: skip
        self.ids = {token: id for id, token in enumerate(self.tokens) if not self._is_filling(id)}

    def get(self, key: str, kind: type, default: Any = None) -> Any:
        """One value of `kind`; raises `CheckpointError` when it is missing or of another."""
        value = self.header.metadata.get(f"tokenizer.ggml.{key}", default)
        if value is None:
            raise damaged(
                self.header.path, f"tokenizer.ggml.{key} is missing", f"缺少 tokenizer.ggml.{key}"
            )  # fmt: skip
        if not isinstance(value, kind):
            raise self._mistyped(key, kind)
        return value

    def list_of(self, kind: type, key: str, default: Any = None) -> Any:
        """A list of values of `kind`; raises as `get`."""
        values = self.get(key, list, default)
        if not all(isinstance(value, kind) for value in values):
            raise self._mistyped(key, kind)
        return values

    def special(self, role: str) -> str | None:
        """The text of the token that plays `role`."""
        id = self.header.metadata.get(f"tokenizer.ggml.{ROLES[role]}_token_id")
        if id is None:
            return None
        if not isinstance(id, int) or not 0 <= id < len(self.tokens):
            raise damaged(
                self.header.path,
                f"tokenizer.ggml.{ROLES[role]}_token_id is {id!r}, outside its {len(self.tokens)} tokens",
                f"tokenizer.ggml.{ROLES[role]}_token_id 为 {id!r}，超出其 {len(self.tokens)} 个词元",
            )
        return self.tokens[id]

    def added(self) -> list[dict[str, Any]]:
        """Tokens that are found whole in a text: control tokens and those that a user defined."""
        flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
        return [
            {"id": id, "content": token, **flags, "special": self.types[id] != USER_DEFINED}
            for token, id in self.ids.items()
            if self.types[id] in (CONTROL, USER_DEFINED)
        ]

    def _mistyped(self, key: str, kind: type) -> CheckpointError:
        return damaged(
            self.header.path,
            f"tokenizer.ggml.{key} is not of the type {kind.__name__}",
            f"tokenizer.ggml.{key} 的类型不是 {kind.__name__}",
        )

    def _is_filling(self, id: int) -> bool:
        return self.types[id] == UNUSED and self.tokens[id] == PADDING.format(id)


def _byte_level(vocabulary: _Vocabulary) -> tuple[dict[str, Any], bool]:
    header = vocabulary.header
    name = header.metadata.get("tokenizer.ggml.pre", "default")
    split = SPLITS.get(ALIASES.get(name, name))
    if split is None:
        raise _unknown(header, "tokenizer.ggml.pre", name, (*SPLITS, *ALIASES))
    merges = [merge.split(" ") for merge in vocabulary.list_of(str, "merges")]
    model = _bpe(vocabulary, merges) | {"ignore_merges": split.ignore_merges}
    definition = _definition(vocabulary, model) | {
        "normalizer": split.normal_form and {"type": split.normal_form},
        "pre_tokenizer": split.pre_tokenizer,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
    }
    return definition, split.begins


def _sentence_pieces(vocabulary: _Vocabulary) -> tuple[dict[str, Any], bool]:
    """BPE of SentencePiece (Kudo and Richardson 2018): the pair whose union has the best score is merged first,
    and what is no token is spelt in bytes."""
    unknown = vocabulary.special("unk")
    model = _bpe(vocabulary, _merges_by_score(vocabulary)) | {
        "unk_token": unknown, "fuse_unk": True, "byte_fallback": BYTE in vocabulary.types,
    }  # fmt: skip
    prefix = vocabulary.get("add_space_prefix", bool, True)
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    prepend = [{"type": "Prepend", "prepend": SPACE}] if prefix else []
    strip = [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if prefix else []
    back = {"type": "Replace", "pattern": {"String": SPACE}, "content": " "}
    definition = _definition(vocabulary, model) | {
        "normalizer": {"type": "Sequence", "normalizers": [*prepend, replace]},
        "pre_tokenizer": None,
        "decoder": {
            "type": "Sequence",
            "decoders": [back, {"type": "ByteFallback"}, {"type": "Fuse"}, *strip],
        },
    }
    return definition, True


def _merges_by_score(vocabulary: _Vocabulary) -> list[list[str]]:
    """Every way to make a token of two, the best-scored token first."""
    scores = vocabulary.list_of(float, "scores")
    if len(scores) != len(vocabulary.tokens):
        raise damaged(vocabulary.header.path, "tokenizer.ggml.scores is of another length than its tokens",
                      "tokenizer.ggml.scores 与词元数量不符")  # fmt: skip
    ids = {token: id for token, id in vocabulary.ids.items() if vocabulary.types[id] == NORMAL}
    merges = []
    for token in sorted(ids, key=lambda token: (-scores[ids[token]], ids[token])):
        cuts = ((token[:n], token[n:]) for n in range(1, len(token)))
        pairs = [(left, right) for left, right in cuts if left in ids and right in ids]
        merges += [list(pair) for pair in sorted(pairs, key=lambda pair: (ids[pair[0]], ids[pair[1]]))]
    return merges


def _bpe(vocabulary: _Vocabulary, merges: list[list[str]]) -> dict[str, Any]:
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
        "vocab": vocabulary.ids,
        "merges": merges,
    }


def _definition(vocabulary: _Vocabulary, model: dict[str, Any]) -> dict[str, Any]:
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": vocabulary.added(),
        "model": model,
    }


def _wrap(vocabulary: _Vocabulary, begins: bool, ends: bool) -> dict[str, Any] | None:
    """The begin and end tokens that a text is given."""
    first = vocabulary.special("bos") if begins else None
    last = vocabulary.special("eos") if ends else None
    if first is None and last is None:
        return None

    def sequence(name: str, type_id: int) -> list[dict[str, Any]]:
        inner = [{"Sequence": {"id": name, "type_id": type_id}}]
        before = [{"SpecialToken": {"id": first, "type_id": type_id}}] if first else []
        after = [{"SpecialToken": {"id": last, "type_id": type_id}}] if last else []
        return [*before, *inner, *after]

    specials = {
        token: {"id": token, "ids": [vocabulary.ids[token]], "tokens": [token]}
        for token in (first, last)
        if token is not None
    }
    return {
        "type": "TemplateProcessing",
        "single": sequence("A", 0),
        "pair": [*sequence("A", 0), *sequence("B", 1)],
        "special_tokens": specials,
    }


def _unknown(header: Header, key: str, value: Any, known: Sequence[str]) -> CheckpointError:
    return CheckpointError(
        Text(f"{header.path}: {key} is {value!r}, and only {', '.join(known)} can be read.",
             f"{header.path}：{key} 为 {value!r}，只能读取 {'、'.join(known)}。"),
        other_file(),
    )  # fmt: skip
