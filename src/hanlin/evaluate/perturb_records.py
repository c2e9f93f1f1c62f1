"""A perturbation of the texts of a record, whatever its kind, such that its answer stays right.

What the answer names in the text (spans, answers of a context) stays as it is, and its places move along. A sentence is
added only where the text is judged as a whole: to one text with a class, spans or an answer, never to one of a pair, to
what is to be translated, or to words with tags.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from hanlin.base.records import (
    Dialogue,
    Extracted,
    Labelled,
    Matched,
    Question,
    Relation,
    Scored,
    Span,
    TaggedWords,
    TaskRecord,
    Turn,
    Written,
)
from hanlin.evaluate.perturb import Perturbation

Change = Callable[[str], str]
Stretch = tuple[int, int]


def perturbed(record: TaskRecord, how: Perturbation, random: Random) -> TaskRecord:
    """The record with its texts changed; equal to the record where the change touches nothing or would change the answer."""

    def change(text: str) -> str:
        changed = how.change(text, random)
        return changed if changed.strip() else text

    within = how.place == "within"
    match record:
        case Labelled() if within or record.pair is None:
            pair = None if record.pair is None else change(record.pair)
            return record.model_copy(update={"text": change(record.text), "pair": pair})
        case Scored() if within:
            pair = None if record.pair is None else change(record.pair)
            return record.model_copy(update={"text": change(record.text), "pair": pair})
        case TaggedWords() if within:
            return record.model_copy(update={"words": tuple(_word(word, change) for word in record.words)})
        case Extracted():
            return _extracted(record, change, within)
        case Question():
            return _question(record, change, how)
        case Written() if within:
            return record.model_copy(update={"source": change(record.source)})
        case Matched() if within:
            return record.model_copy(update={"query": change(record.query)})
        case Dialogue() if within:
            return record.model_copy(
                update={"messages": tuple(_turn(one, change) for one in record.messages)}
            )
    return record


@dataclass(frozen=True)
class Moved:
    """A text that was changed around the stretches that it keeps; `moves` are the old and the new start of each."""

    text: str
    moves: tuple[tuple[Stretch, int], ...]

    def place(self, start: int) -> int:
        """Where what began at `start`, in a stretch that is kept, begins now."""
        return next(now + start - kept[0] for kept, now in self.moves if kept[0] <= start <= kept[1])


def change_around(text: str, kept: Sequence[Stretch], change: Change) -> Moved:
    """Change each piece of a text between the stretches that are kept, which may lie in each other."""
    parts, moves, done, length = list[str](), list[tuple[Stretch, int]](), 0, 0
    for start, stop in [*_joined(kept), (len(text), len(text))]:
        piece = text[done:start]
        parts.append(change(piece) if piece.strip() else piece)
        length += len(parts[-1])
        moves.append(((start, stop), length))
        parts.append(text[start:stop])
        length += stop - start
        done = stop
    return Moved("".join(parts), tuple(moves))


def _joined(stretches: Sequence[Stretch]) -> Iterator[Stretch]:
    """Those that overlap or touch as one, in order."""
    start, stop = -1, -1
    for first, last in sorted(set(stretches)):
        if first <= stop:
            stop = max(stop, last)
            continue
        if stop >= 0:
            yield start, stop
        start, stop = first, last
    if stop >= 0:
        yield start, stop


def _changed(text: str, kept: Sequence[Stretch], change: Change, within: bool) -> Moved:
    """Changed around what is kept; a sentence that is added stands around the whole."""
    if within:
        return change_around(text, kept, change)
    whole = change(text)
    return Moved(whole, (((0, len(text)), whole.index(text.rstrip())),))


def _extracted(record: Extracted, change: Change, within: bool) -> Extracted:
    relations = record.relations or ()
    kept = [(span.start, span.stop) for span in record.spans or ()]
    kept += [span for one in relations for span in (one.subject_span, one.object_span) if span]
    named = [name for one in relations for name in (one.subject, one.object)]
    moved = _changed(record.text, [*kept, *_found(record.text, named)], change, within)

    def span(old: Stretch | None) -> Stretch | None:
        return None if old is None else (moved.place(old[0]), moved.place(old[0]) + old[1] - old[0])

    def relation(old: Relation) -> Relation:
        return old.model_copy(
            update={"subject_span": span(old.subject_span), "object_span": span(old.object_span)}
        )

    spans = [
        Span(start=moved.place(one.start), stop=moved.place(one.start) + one.stop - one.start, kind=one.kind)
        for one in record.spans or ()
    ]
    return record.model_copy(
        update={
            "text": moved.text,
            "spans": None if record.spans is None else tuple(spans),
            "relations": None if record.relations is None else tuple(map(relation, relations)),
        }
    )


def _question(record: Question, change: Change, how: Perturbation) -> Question:
    """A sentence after stands in the context, one before stands before the question."""
    question = record.question if how.place == "after" else change(record.question)
    if record.context is None or how.place == "before":
        return record.model_copy(update={"question": question})
    answers, starts = record.answers or (), record.starts
    kept = [(start, start + len(answer)) for start, answer in zip(starts or (), answers, strict=False)]
    moved = _changed(record.context, [*kept, *_found(record.context, answers)], change, how.place == "within")
    now = None if starts is None else tuple(moved.place(start) for start in starts)
    return record.model_copy(update={"question": question, "context": moved.text, "starts": now})


def _found(text: str, names: Sequence[str]) -> Iterator[Stretch]:
    """Wherever one of the names stands in the text."""
    for name in {name for name in names if name}:
        start = text.find(name)
        while start >= 0:
            yield start, start + len(name)
            start = text.find(name, start + 1)


def _word(word: str, change: Change) -> str:
    """A word stays one word."""
    changed = change(word)
    return word if any(map(str.isspace, changed)) else changed


def _turn(turn: Turn, change: Change) -> Turn:
    return turn.model_copy(update={"content": change(turn.content)}) if turn.role == "user" else turn
