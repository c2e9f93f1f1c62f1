"""What all tasks have in common whose answer is a text that the model writes.

An encoder-decoder reads the filled prompt and its answer is found by beam search; a decoder is asked by the prompt, plain or
as a turn of a conversation, and its likeliest tokens are taken.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, TypeVar

from pydantic import Field

from hanlin.base.errors import DataError
from hanlin.base.language import Text
from hanlin.base.records import Record, TaskRecord
from hanlin.batches.answers import Answers
from hanlin.batches.labels import Places
from hanlin.batches.ragged import check_not_empty, name_record
from hanlin.batches.written import WrittenTexts, fit_answers, shortened, source_encodings, target_ids
from hanlin.generate.beam import BeamConfig
from hanlin.generate.many import continue_all
from hanlin.generate.parameters import SamplingParameters
from hanlin.generate.seq2seq import write_targets
from hanlin.model.decoder import Decoder
from hanlin.model.seq2seq import Seq2Seq
from hanlin.objective.term import Objective
from hanlin.objective.written import WritingLoss
from hanlin.tasks.asked import Asked, length_in
from hanlin.tasks.opened import ADAPTER, Opened
from hanlin.tasks.prompted import Prompted
from hanlin.tasks.task import Method
from hanlin.tokenizer.tokenizer import Tokenizer

RecordT = TypeVar("RecordT", bound=TaskRecord)


class Continued(Record):
    """What was written. ended: whether it came to an end within `max_new_tokens`; cut: tokens of the source that were not read."""

    text: str
    ended: bool
    cut: int = 0


class Writing(Prompted[RecordT, Continued]):
    """A text in answer to each record."""

    max_new_tokens: int = Field(128, ge=1)
    """The longest answer."""
    beam: BeamConfig = BeamConfig()
    """How an encoder-decoder looks for the likeliest answer."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of each token's probability that all tokens share, while training (arXiv 1706.03762, section 5.4)."""
    prediction: ClassVar[type[Continued]] = Continued
    methods: ClassVar[tuple[Method, ...]] = ("full", "lora", "prompt-tuning", "zero-shot", "few-shot")

    def head(self) -> dict[str, Any]:
        return {}

    def examples(self, opened: Opened, records: Sequence[RecordT], places: Places = None) -> Any:
        asked, answers, names = list[Asked](), list[str](), list[str]()
        for number, record in enumerate(records):
            name = name_record(number, places)
            right = [self.cased(one) for one in self.answers_of(record) if one.strip()]
            if not right:
                raise DataError(
                    Text(
                        f"Record {name} has nothing that is to be written.", f"记录 {name} 没有要写出的文本。"
                    ),
                    Text("Give its target, or remove it.", "请补上目标文本，或删除该记录。"),
                )
            asked += [self.asked(record, opened, name)] * len(right)
            answers += right
            names += [name] * len(right)
        tokenizer, most = opened.tokenizer, opened.window(self.max_tokens)
        if isinstance(opened.model, Seq2Seq):
            return WrittenTexts(
                source_encodings([one.prompt(one.text) for one in asked], tokenizer, most),
                target_ids(answers, tokenizer),
                start_id=tokenizer.start_id,
                pad_id=tokenizer.pad_id,
                window=opened.model.config.window,
                prefix=opened.prefix,
                places=names,
            )
        asking = self.asking(opened)
        pairs = [(one.text, answer) for one, answer in zip(asked, answers, strict=True)]
        fitted = fit_answers(pairs, asking, [one.prompt for one in asked], tokenizer, most, names)
        return Answers(fitted, tokenizer.pad_id, prefix=opened.prefix)

    def objective(self, records: Sequence[RecordT]) -> Objective:
        return WritingLoss(self.label_smoothing)

    def predict(self, opened: Opened, records: Sequence[RecordT], title: str = "") -> list[Continued]:
        asked = [self.asked(one, opened, f"#{number + 1}") for number, one in enumerate(records)]
        said = (
            self._found(opened, opened.model, asked, title)
            if isinstance(opened.model, Seq2Seq)
            else self._continued(opened, asked, title)
        )
        return [one.model_copy(update={"text": self.cased(one.text.strip())}) for one in said]

    def said(self, prediction: Continued) -> str:
        return prediction.text

    def _found(self, opened: Opened, model: Seq2Seq, asked: Sequence[Asked], title: str) -> list[Continued]:
        tokenizer, most = opened.tokenizer, opened.window(self.max_tokens)
        sources = source_encodings([one.prompt(one.text) for one in asked], tokenizer, most)
        check_not_empty(
            [[id for id, mark in zip(one.ids, one.special_mask, strict=True) if not mark] for one in sources],
            None,
        )
        found = write_targets(
            model,
            [[*opened.prefix, *one.ids] for one in sources],
            opened.compute,
            self.beam,
            start_id=tokenizer.start_id,
            ends=tokenizer.stop_ids,
            max_new_tokens=self.max_new_tokens,
            banned=_never_written(tokenizer, model.config.vocab_size),
            tokenizer=tokenizer,
            title=title,
        )
        return [
            Continued(text=tokenizer.decode(best.ids), ended=best.ended, cut=source.cut)
            for source, (best, *_) in zip(sources, found, strict=True)
        ]

    def _continued(self, opened: Opened, asked: Sequence[Asked], title: str) -> list[Continued]:
        assert isinstance(opened.model, Decoder)
        tokenizer, window = opened.tokenizer, opened.window(self.max_tokens)
        asking, room = self.asking(opened), max(window - self.max_new_tokens, window // 2)
        prompts, cut = list[list[int]](), list[int]()
        for one in asked:
            short = shortened(one.text, tokenizer, partial(length_in, asking, one), room)
            if short is None:
                raise one.no_room(room)
            prompts.append(asking.prompt_ids(one.prompt(short[0])))
            cut.append(short[1])
        stop = () if self.is_trained or asking.is_chat else ("\n\n",)
        parameters = SamplingParameters(temperature=0, max_new_tokens=self.max_new_tokens, stop=stop, seed=0)
        generations = continue_all(
            opened.model, tokenizer, opened.compute, prompts, parameters,
            adapters=opened.adapters, adapter=None if opened.adapters is None else ADAPTER, title=title,
        )  # fmt: skip
        return [
            Continued(text=one.text, ended=one.finish_reason == "stop", cut=lost)
            for one, lost in zip(generations, cut, strict=True)
        ]


def _never_written(tokenizer: Tokenizer, rows: int) -> list[int]:
    """Special tokens but those that begin and end texts, and rows of the vocabulary that no token has."""
    kept = {*tokenizer.stop_ids, tokenizer.bos_id}
    return [
        *(id for id in sorted(tokenizer.special_ids) if id not in kept),
        *range(tokenizer.vocab_size, rows),
    ]
