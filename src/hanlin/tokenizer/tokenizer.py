"""The one tokenizer of Hanlin: any `tokenizer.json`, text to ids and back, special tokens never from text."""

import hashlib
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import tokenizers

from hanlin.base.files import write_text
from hanlin.base.manifest import fingerprint
from hanlin.tokenizer.encoder import TextEncoder
from hanlin.tokenizer.folder import DEFINITION, TokenizerFiles, damaged, parse_object, read_tokenizer_files
from hanlin.tokenizer.framing import Encoding, Frame, PaddedBatch, fill_frame, pad, read_frames
from hanlin.tokenizer.pieces import bytes_reader, written_reader
from hanlin.tokenizer.refusals import no_end, outside
from hanlin.tokenizer.special import TURN_ENDS


class Tokenizer:
    """Text to ids and back. Immutable, and safe to use from several threads.

    `eos_id` ends a document (the separator in BERT's family), `pad_id` fills (the end token where none is
    declared: what is filled is always masked), `bos_id` begins a text where the family has such a token,
    `start_id` begins the target of an encoder-decoder (padding, as in T5 and Marian, where no file names
    it), `stop_ids` end generation, `special_ids` are all ids that stand for no text. `cls_id`, `sep_id`,
    `mask_id` and `unk_id` are None where the family has no such token. `is_byte_level` says that every
    token is a fixed string of bytes. Vocabulary positions without a token exist in some families:
    `vocab_size` is the greatest id + 1.
    """

    def __init__(self, files: TokenizerFiles) -> None:
        self._files = files
        self._definition = parse_object(files.texts[DEFINITION], f"{files.place}/{DEFINITION}")
        try:
            self._rust = tokenizers.Tokenizer.from_str(files.texts[DEFINITION])
        except Exception as error:  # the bindings raise plain Exception for whatever the file lacks
            raise damaged(f"{files.place}/{DEFINITION}", str(error)) from error
        self._rust.no_padding()
        added = self._rust.get_added_tokens_decoder()
        self.special_ids = frozenset(id for id, token in added.items() if token.special)
        self._added = {id: token.content for id, token in added.items()}
        unknown = self._definition["model"].get("unk_token") or files.named("unk")
        self._encoder = TextEncoder(self._rust, self._definition, unknown)
        self._bytes_of = bytes_reader(self._definition)
        self.is_byte_level = self._bytes_of is not None
        self.vocab_size = max(self._rust.get_vocab(with_added_tokens=True).values()) + 1
        self.eos_id = self._required_eos()
        self.bos_id = self._id_of("bos")
        pad_id = self._id_of("pad")
        self.pad_id = self.eos_id if pad_id is None else pad_id
        self.cls_id = self._id_of("cls")
        self.sep_id = self._id_of("sep")
        self.mask_id = self._id_of("mask")
        self.unk_id = self._id_of("unk")
        self.start_id = next(files.numbered("decoder_start"), self.pad_id)
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
        """The Jinja source of the chat template for plain conversations, if the tokenizer has one."""
        return self._files.chat_template

    @property
    def chat_templates(self) -> dict[str, str]:
        """The Jinja sources of the chat templates by name; that of plain conversations is "default"."""
        return self._files.chat_templates

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
        return self._encoder.encode(text)

    def encode_spans(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """`encode`, and where each token begins and ends in `text`, in characters; raises as `encode`.

        A token that is part of a character has the place of all of it; white space before a word is its token's, or not,
        as the vocabulary has it.
        """
        return self._encoder.encode_spans(text)

    def encode_inside(self, text: str, after_special: bool) -> list[int]:
        """The ids of a text that stands after other text, or after a special token.

        They differ from those of `encode` only where a vocabulary marks the beginning of a text. Raises as
        `encode`.
        """
        return self._encoder.encode_inside(text, after_special)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` of each text, on all cores; for byte-level vocabularies several times faster."""
        return self._encoder.encode_batch(texts)

    def encode_single(self, text: str, max_length: int | None = None) -> Encoding:
        """`text` with the special tokens that the model expects around it, at most `max_length` tokens.

        Raises `RequestError` when `max_length` has no room for the special tokens, `CheckpointError` when
        the post-processor of the files is of an unknown form, and as `encode`.
        """
        return self.framed([self.encode(text)], max_length)

    def encode_pair(self, first: str, second: str, max_length: int | None = None) -> Encoding:
        """Two texts as one input, with segment ids, truncated longest first; raises as `encode_single`.

        Ids and segments are those of `transformers` with `truncation=True`.
        """
        return self.framed([self.encode(first), self.encode(second)], max_length)

    def framed(self, texts: Sequence[list[int]], max_length: int | None = None) -> Encoding:
        """The ids of one or two texts with the special tokens around them; as `encode_single` and `encode_pair`."""
        frame = self._frames[len(texts) - 1]
        return fill_frame(frame, texts, max_length, self._files.side("truncation"))

    def encode_inputs(
        self, inputs: Sequence[str | tuple[str, str]], max_length: int | None = None
    ) -> PaddedBatch:
        """`encode_single` or `encode_pair` of each input, padded to the longest of them; raises as they
        do."""
        groups = [(entry,) if isinstance(entry, str) else entry for entry in inputs]
        ids = iter(self.encode_batch([text for group in groups for text in group]))
        rows = [self.framed([next(ids) for _ in group], max_length) for group in groups]
        return pad(rows, self.pad_id, self._files.side("padding"))

    @property
    def has_bulk_encoding(self) -> bool:
        """Whether `encode_batch` runs on the fast engine."""
        return self._encoder.has_bulk_encoding

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
            raise outside(next(id for id in ids if not 0 <= id < self.vocab_size), self.vocab_size)
        text: str = self._rust.decode(ids, skip_special_tokens=skip_special)
        return text

    def token_bytes(self, id: int) -> bytes:
        """The bytes of one token of a byte-level vocabulary; none for a position of the vocabulary without
        a token."""
        assert self.is_byte_level, "only the tokens of byte-level vocabularies are fixed strings of bytes"
        if not 0 <= id < self.vocab_size:
            raise outside(id, self.vocab_size)
        return self._bytes[id]

    def written_pieces(self) -> list[bytes]:
        """What each id of the vocabulary puts into a text, by id; a line break for special tokens.

        Where tokens are no fixed strings of bytes it is near enough to see where words begin and end.
        """
        read, table = written_reader(self._definition), [b"\n"] * self.vocab_size
        for piece, id in self._rust.get_vocab(with_added_tokens=True).items():
            if id not in self.special_ids:
                table[id] = self._added[id].encode() if id in self._added else read(piece)
        return table

    @property
    def writes_pieces(self) -> bool:
        """Whether a text is its `written_pieces` one after the other, but for a space at its beginning."""
        model = self._definition["model"]
        return not model.get("continuing_subword_prefix") and not model.get("end_of_word_suffix")

    def special_text(self, id: int) -> str:
        """The text of an added token, as templates write it."""
        return self._added[id]

    def token_id(self, text: str) -> int | None:
        """The id of the token written `text`, None if there is none."""
        id: int | None = self._rust.token_to_id(text)
        return id

    def special_text_of(self, role: str) -> str | None:
        """The text of the token that plays `role` ("eos", "bos", "pad", "cls", "sep", "mask", "unk"), if the
        files name one."""
        return self._files.named(role)

    @cached_property
    def _bytes(self) -> list[bytes]:
        assert self._bytes_of is not None
        table = [b""] * self.vocab_size
        for piece, id in self._rust.get_vocab(with_added_tokens=True).items():
            table[id] = self._added[id].encode() if id in self._added else self._bytes_of(piece)
        return table

    @cached_property
    def _frames(self) -> tuple[Frame, Frame]:
        return read_frames(self._definition)

    def _id_of(self, role: str) -> int | None:
        name = self._files.named(role)
        id: int | None = self._rust.token_to_id(name) if name is not None else None
        return id if id is not None else next(self._files.numbered(role), None)

    def _required_eos(self) -> int:
        id = self._id_of("eos")
        id = self._id_of("sep") if id is None else id
        if id is None:
            raise no_end(self._files.place)
        return id
