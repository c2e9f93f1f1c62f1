"""The one tokenizer of Hanlin: any `tokenizer.json`, text to ids and back, special tokens never from text."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import tiktoken
import tokenizers

from hanlin.base.errors import CheckpointError, DataError
from hanlin.base.files import write_text
from hanlin.base.language import Text
from hanlin.base.manifest import fingerprint
from hanlin.tokenizer.bulk import bulk_encoding
from hanlin.tokenizer.folder import DEFINITION, TokenizerFiles, damaged, parse_object, read_tokenizer_files
from hanlin.tokenizer.pieces import bytes_of, is_byte_level
from hanlin.tokenizer.special import TURN_ENDS


class Tokenizer:
    """Text to ids and back. Immutable, and safe to use from several threads.

    `eos_id` ends a document, `pad_id` fills (the end token where none is declared: what is filled is always
    masked), `bos_id` begins a text where the family has such a token, `stop_ids` end generation,
    `special_ids` are all ids that stand for no text. Vocabulary positions without a token exist in some
    families: `vocab_size` is the greatest id + 1.
    """

    def __init__(self, files: TokenizerFiles) -> None:
        self._files = files
        self._definition = parse_object(files.texts[DEFINITION], f"{files.place}/{DEFINITION}")
        try:
            self._rust = tokenizers.Tokenizer.from_str(files.texts[DEFINITION])
        except Exception as error:  # the bindings raise plain Exception for whatever the file lacks
            raise damaged(f"{files.place}/{DEFINITION}", str(error)) from error
        self._rust.encode_special_tokens = True  # "<|im_end|>" in a text is ten characters, not a token
        self._rust.no_truncation()
        self._rust.no_padding()
        added = self._rust.get_added_tokens_decoder()
        self.special_ids = frozenset(id for id, token in added.items() if token.special)
        self._added = {id: token.content for id, token in added.items()}
        self.is_byte_level = is_byte_level(self._definition)
        self.vocab_size = max(self._rust.get_vocab(with_added_tokens=True).values()) + 1
        self.eos_id = self._required_eos()
        self.bos_id = self._id_of("bos")
        pad_id = self._id_of("pad")
        self.pad_id = self.eos_id if pad_id is None else pad_id
        turn_ends = [self._rust.token_to_id(token) for token in TURN_ENDS]
        self.stop_ids = frozenset(
            [self.eos_id, *files.numbered("eos"), *(id for id in turn_ends if id in self.special_ids)]
        )

    @classmethod
    def load(cls, folder: Path | str) -> "Tokenizer":
        """Read the tokenizer in `folder`; raises `CheckpointError` when it is missing, damaged or has no
        end token."""
        return cls(read_tokenizer_files(Path(folder)))

    def save(self, folder: Path) -> None:
        """Write the files of this tokenizer into `folder`, byte for byte those it was loaded from."""
        for name, text in self._files.texts.items():
            write_text(folder / name, text)

    @property
    def chat_template(self) -> str | None:
        """The Jinja source of the chat template, if the tokenizer has one."""
        return self._files.chat_template

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits: equal ones encode and end every document alike."""
        digest = hashlib.sha256(self._files.texts[DEFINITION].encode()).hexdigest()
        return fingerprint({"definition": digest, "eos": self.eos_id, "bos": self.bos_id, "pad": self.pad_id})

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, without begin or end token. Names of special tokens in it are ordinary
        characters.

        Raises `DataError` when `text` holds half a surrogate pair, which no encoding of Unicode can carry.
        """
        ids = self._encode_piece(text)
        if self._forbidden_ids.isdisjoint(ids):
            return ids
        parts = self._cut_names(text)
        ids = [id for part in parts for id in self._encode_piece(part)]
        if not self._forbidden_ids.isdisjoint(ids):
            raise _unspeakable(self._added[min(self._forbidden_ids.intersection(ids))])
        return ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` of each text; for byte-level vocabularies several times faster and on all cores."""
        if self._bulk is None or any(self._matches_added(text) for text in texts):
            return [self.encode(text) for text in texts]
        try:
            "".join(texts).encode()
        except UnicodeEncodeError as error:
            raise _surrogate("".join(texts)) from error
        normalizer = self._rust.normalizer
        if normalizer is not None:
            texts = [normalizer.normalize_str(text) for text in texts]
        return self._bulk.encode_ordinary_batch(list(texts))

    @property
    def has_bulk_encoding(self) -> bool:
        """Whether `encode_batch` runs on the fast engine."""
        return self._bulk is not None

    @cached_property
    def begins_with_bos(self) -> bool:
        """Whether a text given to the model begins with `bos_id`: what the tokenizer's own post-processor
        does."""
        return self.bos_id is not None and self._rust.encode("").ids[:1] == [self.bos_id]

    def encode_prompt(self, text: str) -> list[int]:
        """The ids of a text that stands at the beginning: the begin token, where the family has one, and
        `encode`."""
        assert self.bos_id is not None or not self.begins_with_bos
        return (
            [self.bos_id, *self.encode(text)]
            if self.begins_with_bos and self.bos_id is not None
            else self.encode(text)
        )

    def decode(self, ids: Iterable[int], skip_special: bool = True) -> str:
        """The text of `ids`; bytes that form no character become U+FFFD. Raises `DataError` for ids outside
        the vocabulary."""
        ids = list(ids)
        if self.is_byte_level:
            kept = (id for id in ids if not (skip_special and id in self.special_ids))
            return b"".join(map(self.token_bytes, kept)).decode("utf-8", errors="replace")
        if any(not 0 <= id < self.vocab_size for id in ids):
            raise _outside(next(id for id in ids if not 0 <= id < self.vocab_size), self.vocab_size)
        text: str = self._rust.decode(ids, skip_special_tokens=skip_special)
        return text

    def token_bytes(self, id: int) -> bytes:
        """The bytes of one token of a byte-level vocabulary; none for a position of the vocabulary without
        a token."""
        assert self.is_byte_level, "only the tokens of byte-level vocabularies are fixed strings of bytes"
        if not 0 <= id < self.vocab_size:
            raise _outside(id, self.vocab_size)
        return self._bytes[id]

    def special_text(self, id: int) -> str:
        """The text of an added token, as templates write it."""
        return self._added[id]

    def token_id(self, text: str) -> int | None:
        """The id of the token written `text`, None if there is none."""
        id: int | None = self._rust.token_to_id(text)
        return id

    def special_text_of(self, role: str) -> str | None:
        """The text of the token that plays `role` ("eos", "bos", "pad", "unk"), if the files name one."""
        return self._files.named(role)

    @cached_property
    def _bytes(self) -> list[bytes]:
        table = [b""] * self.vocab_size
        for piece, id in self._rust.get_vocab(with_added_tokens=True).items():
            table[id] = self._added[id].encode() if id in self._added else bytes_of(piece)
        return table

    @cached_property
    def _bulk(self) -> tiktoken.Encoding | None:
        return bulk_encoding(self._definition)

    @cached_property
    def _ordinary_added(self) -> re.Pattern[str] | None:
        """Added tokens that are not special: those do come from text, and `tiktoken` does not know them."""
        names = [re.escape(text) for id, text in self._added.items() if id not in self.special_ids]
        return re.compile("|".join(names)) if names else None

    def _matches_added(self, text: str) -> bool:
        return self._ordinary_added is not None and self._ordinary_added.search(text) is not None

    def _encode_piece(self, text: str) -> list[int]:
        try:
            ids: list[int] = self._rust.encode(text, add_special_tokens=False).ids
        except (TypeError, UnicodeEncodeError) as error:
            raise _surrogate(text) from error
        return ids

    @cached_property
    def _forbidden_ids(self) -> frozenset[int]:
        """Special ids but that of the unknown character, which text does produce in some families."""
        unknown = self._definition["model"].get("unk_token") or self._files.named("unk")
        by_index = self._definition["model"].get("unk_id")
        return self.special_ids - {self._rust.token_to_id(unknown) if unknown else None, by_index}

    def _cut_names(self, text: str) -> list[str]:
        """`text` cut within each name of a special token: unigram vocabularies hold those names as pieces."""
        names = sorted((self._added[id] for id in self._forbidden_ids), key=lambda name: (-len(name), name))
        cut = re.compile(
            "|".join(f"(?<={re.escape(name[0])})(?={re.escape(name[1:])})" for name in names if name[1:])
        )
        return cut.split(text)

    def _id_of(self, role: str) -> int | None:
        name = self._files.named(role)
        id: int | None = self._rust.token_to_id(name) if name is not None else None
        return id if id is not None else next(self._files.numbered(role), None)

    def _required_eos(self) -> int:
        id = self._id_of("eos")
        if id is None:
            place = self._files.place
            raise CheckpointError(
                Text(
                    f"No file in {place} names the token that ends a text.", f"{place} 中没有文件指明结束符。"
                ),
                Text(
                    'Add "eos_token" to tokenizer_config.json (or "eos_token_id" to generation_config.json).',
                    "请在 tokenizer_config.json 中加上 eos_token（或在 generation_config.json 中加上 "
                    "eos_token_id）。",
                ),
            )
        return id


def _surrogate(text: str) -> DataError:
    place = next((n for n, character in enumerate(text) if "\ud800" <= character <= "\udfff"), -1)
    return DataError(
        Text(
            f"Character {place} of the text is half a surrogate pair: not Unicode.",
            f"文本的第 {place} 个字符是半个代理对，不是合法的 Unicode。",
        ),
        Text("Decode the text again with the right encoding.", "请用正确的编码重新解码该文本。"),
    )


def _unspeakable(name: str) -> DataError:
    return DataError(
        Text(
            f"The text holds {name}, which this vocabulary has only as a special token.",
            f"文本中有 {name}，而该词表中它只能是特殊词元。",
        ),
        Text("Remove it from the text.", "请从文本中删去它。"),
    )


def _outside(id: int, size: int) -> DataError:
    return DataError(
        Text(f"Token id {id} is outside the vocabulary of {size}.", f"词元编号 {id} 超出词表大小 {size}。"),
        Text("Use the tokenizer that made these ids.", "请使用生成这些编号的分词器。"),
    )
