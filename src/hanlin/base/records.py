"""Records that cross stages, as they stand in JSONL and Parquet."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")


class Record(BaseModel):
    """A frozen record; unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Document(Record):
    """One text with where it came from.

    `id` is a digest of the original text, `source` names file or origin, `language` is an ISO 639-1 code
    ("" while unknown), `licence` is what the source states ("" if it states none).
    """

    id: str
    text: str
    source: str
    language: str = ""
    licence: str = ""
    split: Split = "train"


class Message(Record):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


class Turn(Message):
    """A message of a conversation that is learned from; `learn` says whether an answer of the assistant is."""

    learn: bool = True


class Dialogue(Record):
    """A conversation to learn from."""

    messages: tuple[Turn, ...]
