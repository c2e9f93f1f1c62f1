"""What all tasks have in common that ask a language model by a prompt: whose words, with which records shown before."""

import random
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Self, TypeVar

from pydantic import Field

from hanlin.base.errors import ConfigError, DataError
from hanlin.base.language import Text
from hanlin.base.records import Record, TaskRecord
from hanlin.batches.labels import Places
from hanlin.batches.written import Asking
from hanlin.model.decoder import Decoder
from hanlin.model.seq2seq import Seq2Seq
from hanlin.tasks.asked import Asked, Language, is_chinese
from hanlin.tasks.opened import Opened
from hanlin.tasks.task import Task
from hanlin.tokenizer.chat import ChatTemplate

RecordT = TypeVar("RecordT", bound=TaskRecord)
PredictionT = TypeVar("PredictionT", bound=Record)


class Prompted(Task[RecordT, PredictionT]):
    """A task whose records are put to the model in words."""

    prompt: str | None = None
    """What the model is asked, with places such as {source} for what a record holds; default: by kind and language.
    An encoder-decoder is given the source alone unless there is a prompt."""
    language: Language | None = None
    """The language of the default prompt; default: Chinese where the training records are."""
    chat: bool | None = None
    """Whether a decoder is asked in a turn of a conversation; default: where it has a chat template."""
    shots: int = Field(4, ge=1)
    """few-shot: training records that stand in the prompt with their answers."""
    shots_seed: int = Field(0, ge=0)
    """few-shot: by which they are drawn."""
    shown: tuple[RecordT, ...] = Field((), strict=False)
    """few-shot: the records that stand in the prompt; default: drawn from the training records."""
    lowercase: bool = False
    """Whether texts are read, written and compared in lower case."""

    cuttable: ClassVar[str] = "source"
    """The name of what is cut where a prompt is too long."""

    @abstractmethod
    def fields_of(self, record: RecordT) -> dict[str, str]:
        """The texts of a record by the names that prompts have for them."""

    @abstractmethod
    def answers_of(self, record: RecordT) -> tuple[str, ...]:
        """The texts that count as right; none where they are not known."""

    @abstractmethod
    def default_prompt(self, language: Language | None, record: RecordT) -> str:
        """What a decoder is asked unless the user says it; of no language, what an encoder-decoder reads."""

    def begun(self, records: Sequence[RecordT], places: Places = None) -> Self:
        texts = "".join("".join(one.inputs) for one in records[:1000])
        changed: dict[str, Any] = {}
        if self.language is None:
            changed["language"] = "zh" if is_chinese(texts) else "en"
        if self.method == "few-shot" and not self.shown:
            known = [one for one in records if self.answers_of(one)]
            if not known:
                raise DataError(
                    Text("few-shot shows records with their answers, and there are none.", "few-shot 需要展示带答案的记录，但没有这样的记录。"),
                    Text("Give training records, or choose zero-shot.", "请提供训练记录，或改用 zero-shot。"),
                )  # fmt: skip
            drawn = random.Random(self.shots_seed).sample(known, min(self.shots, len(known)))
            changed["shown"] = tuple(drawn)
        return self.model_copy(update=changed)

    def texts(self, records: Sequence[RecordT]) -> Iterator[str]:
        for record in records:
            for text in (*self.fields_of(record).values(), *self.answers_of(record)):
                yield self.cased(text)

    def asked(self, record: RecordT, opened: Opened, place: str) -> Asked:
        """A record, which stands at `place`, as a prompt."""
        fields = {name: self.cased(text) for name, text in self.fields_of(record).items()}
        language = None if isinstance(opened.model, Seq2Seq) else self.language or "en"
        template = self.default_prompt(language, record) if self.prompt is None else self.prompt
        cuttable = self.cuttable if self.cuttable in fields else next(iter(fields))
        return Asked(template, fields, cuttable, place)

    def asking(self, opened: Opened) -> Asking:
        """How a decoder is asked. Raises `ConfigError` for a model that is none."""
        model, tokenizer = opened.model, opened.tokenizer
        if not isinstance(model, Decoder) or model.config.head != "lm":
            raise ConfigError(
                Text("This model does not write texts.", "该模型不能写出文本。"),
                Text("Choose an encoder-decoder, or a decoder that continues text.", "请选用编码器-解码器或因果语言模型。"),
            )  # fmt: skip
        has_chat = tokenizer.chat_template is not None if self.chat is None else self.chat
        shown = self.shown if self.method == "few-shot" else ()
        shots = [
            (shot.prompt(shot.text), self.cased(self.answers_of(one)[0]))
            for one in shown
            for shot in [self.asked(one, opened, "shot")]
        ]
        return Asking(tokenizer, ChatTemplate(tokenizer) if has_chat else None, shots)

    def cased(self, text: str) -> str:
        """The text as the model reads and writes it."""
        return text.lower() if self.lowercase else text
