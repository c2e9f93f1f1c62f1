"""A tag for each word: named entities, parts of speech, word segmentation (分词).

N records, W words, K tags.
"""

from collections.abc import Collection, Hashable, Sequence
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import Field
from torch import Tensor

from hanlin.base.records import Record, TaggedWords
from hanlin.batches.bio import bio_tags, first_invalid, is_bio, is_bioes, kinds_of, spans, write_tags
from hanlin.batches.labels import Places
from hanlin.batches.tagged import Tagged, TaggedTexts, owners_of
from hanlin.evaluate.found import found_by_kind, macro_f1_of_kinds
from hanlin.evaluate.measure import Floats, Measure, ratio_of
from hanlin.model.config import CoreConfig
from hanlin.objective.crf import CrfTagging
from hanlin.objective.tagging import Tagging
from hanlin.objective.term import Objective
from hanlin.tasks.found import KINDS_SHOWN, FoundSpan, set_wrongness, span_figures
from hanlin.tasks.opened import Opened
from hanlin.tasks.task import Method, Task
from hanlin.tasks.token_tags import decoded, not_known, scores_of_tokens

_SEGMENTS = {"B": "B", "M": "I", "I": "I", "E": "I", "S": "B"}
"""Letters that stand alone, of word segmentation, as B and I."""


class WordsTagged(Record):
    """A tag for each word, how probable each is, and, of BIO tags, the spans: `start` and `stop` are numbers of words."""

    tags: tuple[str, ...]
    probabilities: tuple[float, ...]
    spans: tuple[FoundSpan, ...] = ()


class Tag(Task[TaggedWords, WordsTagged]):
    """One tag a word; sentences that are longer than the model's window are read in windows, so that every word has one."""

    kind: Literal["tag"] = "tag"
    labels: tuple[str, ...] = Field((), strict=False)
    """The tags, in order; default: those of the training records, and of BIO all that belong to their kinds."""
    scheme: Literal["bio", "bioes"] = "bio"
    """How spans are learned; predictions are BIO either way."""
    crf: bool = False
    """Whether tags are judged as one sequence, by a conditional random field on the model's scores (arXiv 1603.01360)."""
    valid_only: bool = True
    """Without a CRF: whether of BIO tags the most probable valid sequence is said, and not the best tag of each word."""
    overlap: int = Field(64, ge=0)
    """Tokens that neighbouring windows of a long sentence share, at most half of a window."""

    record: ClassVar[type[TaggedWords]] = TaggedWords
    prediction: ClassVar[type[WordsTagged]] = WordsTagged
    methods: ClassVar[tuple[Method, ...]] = ("full", "lora")
    chosen_by: ClassVar[tuple[str, Literal["lower", "higher"]]] = ("valid_f1", "higher")

    @classmethod
    def of_model(cls, config: CoreConfig) -> Self:
        """The task of a model that has learned it elsewhere, by what its labels are called."""
        assert config.head == "tag"
        names = config.label_names or tuple(f"LABEL_{number}" for number in range(config.labels))
        return cls(labels=names, crf=config.crf, scheme="bioes" if is_bioes(names) else "bio")

    def begun(self, records: Sequence[TaggedWords], places: Places = None) -> Self:
        for number, record in enumerate(records):
            if record.tags is None:
                raise not_known(number, places, "has no tags", "没有标注")
        if self.labels:
            return self
        found = sorted({tag for record in records for tag in record.tags or ()})
        if _are_segments(found):
            found = ["B", "I"]
        if is_bio(found):
            found = list(bio_tags(sorted(kinds_of(found)), self.scheme == "bioes"))
        return self.model_copy(update={"labels": tuple(found)})

    def head(self) -> dict[str, Any]:
        return {"head": "tag", "label_names": self.labels, "crf": self.crf}

    def examples(self, opened: Opened, records: Sequence[TaggedWords], places: Places = None) -> TaggedTexts:
        for number, record in enumerate(records):
            if record.tags is None or len(record.tags) != len(record.words):
                raise not_known(number, places, "has not one tag for each word", "的标注与词数不符")
        return TaggedTexts(
            [Tagged.of_words(record.words, self._learned(record)) for record in records],
            self.labels,
            opened.tokenizer,
            opened.window(self.max_tokens),
            overlap=self.overlap,
            places=places,
        )

    def objective(self, records: Sequence[TaggedWords]) -> Objective:
        return CrfTagging() if self.crf else Tagging()

    def predict(self, opened: Opened, records: Sequence[TaggedWords], title: str = "") -> list[WordsTagged]:
        texts = [Tagged.of_words(record.words, [""] * len(record.words)) for record in records]
        tokens = [text.tokens(opened.tokenizer) for text in texts]
        said = scores_of_tokens(opened, [ids for ids, _ in tokens], self.max_tokens, self.overlap, title)
        of_words = [
            _first_of_words(scores, owners_of(text.stretches, offsets), len(text.stretches))
            for scores, text, (_, offsets) in zip(said, texts, tokens, strict=True)
        ]
        return [
            self._said(record, *found)
            for record, found in zip(records, decoded(opened, of_words, self.valid_only), strict=True)
        ]

    def measures(
        self, records: Sequence[TaggedWords], predictions: Sequence[WordsTagged]
    ) -> tuple[Measure, ...]:
        pairs = [
            (self._plain(one.tags or ()), said.tags) for one, said in zip(records, predictions, strict=True)
        ]
        accuracy = ratio_of(
            "accuracy",
            [sum(a == b for a, b in zip(*pair, strict=True)) for pair in pairs],
            [len(true) for true, _ in pairs],
        )
        if is_bio(self.labels):
            truth, said = (_span_sets(side) for side in zip(*pairs, strict=True))
            return (*span_figures(truth, said), accuracy)
        truth, said = ([set(enumerate(side)) for side in sides] for sides in zip(*pairs, strict=True))
        measures = [accuracy, macro_f1_of_kinds(truth, said, _tag_of)]
        if len(self.labels) <= KINDS_SHOWN:
            by_tag = found_by_kind(truth, said, _tag_of)
            measures += [Measure(f"f1_{tag}", of[0].of, of[0].n) for tag, of in by_tag.items()]
        return tuple(measures)

    def wrongness(self, records: Sequence[TaggedWords], predictions: Sequence[WordsTagged]) -> Floats:
        truth, said = [self._plain(one.tags or ()) for one in records], [one.tags for one in predictions]
        if is_bio(self.labels):
            return set_wrongness(_span_sets(truth), _span_sets(said))
        return set_wrongness([set(enumerate(one)) for one in truth], [set(enumerate(one)) for one in said])

    def said(self, prediction: WordsTagged) -> str:
        return " ".join(prediction.tags)

    def _learned(self, record: TaggedWords) -> Sequence[str]:
        """The tags of a record in the scheme that is learned; what is no valid BIO stays, and is refused by its name."""
        tags = self._plain(record.tags or ())
        as_bioes = is_bio(self.labels) and is_bioes(self.labels) and first_invalid(tags) is None
        return write_tags(spans(tags), len(tags), ends=True) if as_bioes else tags

    def _plain(self, tags: Sequence[str]) -> tuple[str, ...]:
        """The tags, those of word segmentation as B and I."""
        return tuple(_SEGMENTS.get(tag, tag) for tag in tags) if _are_segments(self.labels) else tuple(tags)

    def _said(self, record: TaggedWords, numbers: list[int], chances: list[float]) -> WordsTagged:
        tags = [self.labels[number] for number in numbers]
        if not is_bio(self.labels):
            return WordsTagged(tags=tuple(tags), probabilities=tuple(chances))
        found = spans(tags)
        return WordsTagged(
            tags=tuple(write_tags(found, len(tags)) if is_bioes(self.labels) else tags),
            probabilities=tuple(chances),
            spans=tuple(
                FoundSpan(
                    start=start,
                    stop=stop,
                    kind=kind,
                    text=Tagged.of_words(record.words[start:stop], tags[start:stop]).text,
                    probability=min(chances[start:stop]),
                )
                for kind, start, stop in found
            ),
        )


def _first_of_words(scores_TK: Tensor, owners: Sequence[int | None], words: int) -> Tensor:
    """The scores of the first token of each word, (W, K); a word of which the vocabulary has nothing gets zeros."""
    scores_WK = torch.zeros(words, scores_TK.shape[1])
    for place in range(len(owners) - 1, -1, -1):
        owner = owners[place]
        if owner is not None:
            scores_WK[owner] = scores_TK[place]
    return scores_WK


def _are_segments(tags: Collection[str]) -> bool:
    """Whether they are letters that stand alone, of word segmentation."""
    return {"B"} < set(tags) <= {"O", *_SEGMENTS}


def _span_sets(sides: Sequence[Sequence[str]]) -> list[Any]:
    """(start, stop, kind) of each span of each record."""
    return [{(start, stop, kind) for kind, start, stop in spans(tags)} for tags in sides]


def _tag_of(thing: Hashable) -> str:
    assert isinstance(thing, Collection)
    return str(list(thing)[-1])
