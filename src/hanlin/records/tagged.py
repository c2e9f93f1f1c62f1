"""Rows as words with a tag each."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from hanlin.base.language import Text
from hanlin.base.records import Extracted, TaggedWords
from hanlin.records import names
from hanlin.records.columns import Columns
from hanlin.records.extracted import extracted
from hanlin.records.loaded import Row
from hanlin.records.span_tags import spans_of_tags, tags_of_spans
from hanlin.records.table import Table
from hanlin.records.tag_schemes import as_bio, invalid_place, scheme_of
from hanlin.records.values import BadRow, is_empty, label_of, read_list

_SEGMENTED = re.compile(r".\d")
_NUMBER = re.compile(r"^(.+)\d$")


def tagged_words(table: Table, columns: Columns, answers: bool) -> Callable[[Row], TaggedWords | None]:
    """A reader of rows as `TaggedWords`: lists of words and tags, or texts of them with spaces between.

    Tags of spans in another scheme become BIO, and that is said. A text whose tags are as many as its characters is read
    character by character.
    """
    words, tags = _columns(table, columns, answers)
    if tags and any(_holds_spans(row.values.get(tags)) for row in table.rows[:100]):
        return _from_spans(table, words, tags, answers)
    texts = [[label_of(tag) for tag in _items(row.values.get(tags))] for row in table.rows] if tags else []
    scheme = scheme_of(texts)
    if scheme and scheme != "BIO":
        table.notes.append(
            Text(
                f"{table.where}: the tags are {scheme}; they are read as BIO.",
                f"{table.where}：标签为 {scheme}，已转为 BIO。",
            )
        )
    numbered = _with_numbers_of_characters(table, words)

    def read(row: Row) -> TaggedWords | None:
        found = None if not tags or is_empty(row.values.get(tags)) else _items(row.values.get(tags))
        if found is None and answers:
            raise BadRow(
                Text(f"'{tags}' is empty: the tags are missing", f"“{tags}”为空：缺少标签"),
                Text("Fill it in, or take the row out.", "请补上内容，或删去该行。"),
            )
        told = tuple(label_of(tag) for tag in found) if found is not None else None
        given = _words(row.values.get(words), words, None if told is None else len(told))
        given = tuple(_NUMBER.sub(r"\1", word) for word in given) if numbered else given
        if told is None:
            return TaggedWords(words=given)
        _check_count(given, told)
        told = as_bio(told, scheme) if scheme else told
        if scheme:
            _check_bio(given, told)
        return TaggedWords(words=given, tags=told)

    return read


def extracted_or_tagged(table: Table, columns: Columns, answers: bool) -> Callable[[Row], Extracted | None]:
    """A reader of rows as `Extracted`: of lists of words with tags (CoNLL) too, whose text is made of the words."""
    if not table.numbered or not any(
        isinstance(cell, list) for row in table.rows[:1] for cell in row.values.values()
    ):
        return extracted(table, columns, answers)
    read_words = tagged_words(table, columns, answers)
    table.notes.append(
        Text(
            f"{table.where}: the text is made of the words, and the spans of their tags.",
            f"{table.where}：文本由词拼成，片段由标签得出。",
        )
    )

    def read(row: Row) -> Extracted | None:
        found = read_words(row)
        assert found is not None
        text, spans = spans_of_tags(found.words, found.tags or ("O",) * len(found.words))
        return Extracted(text=text, spans=None if found.tags is None else spans)

    return read


def _holds_spans(cell: Any) -> bool:
    return isinstance(cell, dict) or (isinstance(cell, list) and any(isinstance(item, dict) for item in cell))


def _from_spans(table: Table, text: str, spans: str, answers: bool) -> Callable[[Row], TaggedWords | None]:
    """Spans of a text (CLUENER, lists of entities) as BIO tags of its words, or of its characters."""
    read_spans = extracted(
        table, Columns(table.columns, {"text": text, "spans": spans}, table.where), answers
    )
    table.notes.append(
        Text(
            f"{table.where}: '{spans}' holds spans; they are read as BIO tags of words.",
            f"{table.where}：“{spans}”是片段，已转为词的 BIO 标签。",
        )
    )
    overlapping = Text("spans that overlap a longer one have no tags", "与更长片段重叠的片段没有标签")

    def read(row: Row) -> TaggedWords | None:
        found = read_spans(row)
        assert found is not None
        words, tags, lost = tags_of_spans(found.text, found.spans or ())
        if lost:
            table.count(overlapping, row.place)
        return TaggedWords(
            words=words, tags=None if is_empty(row.values.get(spans)) and not answers else tags
        )

    return read


def _columns(table: Table, columns: Columns, answers: bool) -> tuple[str, str | None]:
    if not table.numbered:
        words = columns.need("words", names.WORDS)
        return words, columns.need("tags", names.TAGS) if answers else columns.find("tags", names.TAGS)
    words = columns.find("words") or columns.take("words", table.columns[0]) if table.columns else ""
    if not words:
        raise columns.missing("words", names.WORDS)
    tags = columns.find("tags")
    if tags is None and len(table.columns) > 1:
        tags = columns.take("tags", table.columns[-1])
    if tags is None and answers:
        raise columns.missing("tags", names.TAGS)
    return words, tags


def _items(value: Any) -> list[Any]:
    return value.split() if isinstance(value, str) and value.lstrip()[:1] != "[" else read_list(value)


def _words(value: Any, column: str, tags: int | None) -> tuple[str, ...]:
    """The words of a cell; a text is cut at spaces, or into characters if there are as many of them as tags."""
    found = _items(value)
    if isinstance(value, str) and len(found) != tags:
        characters = list(value)
        if len(characters) == tags or (tags is None and len(found) == 1):
            found = characters
    if not found:
        raise BadRow(
            Text(f"'{column}' is empty", f"“{column}”为空"),
            Text("Fill it in, or take the row out.", "请补上内容，或删去该行。"),
        )
    return tuple(map(str, found))


def _with_numbers_of_characters(table: Table, words: str) -> bool:
    """Whether each character is followed by its number within its word (`科0 技1`), as in Weibo NER."""
    found = [
        bool(_SEGMENTED.fullmatch(str(word))) for row in table.rows for word in _items(row.values.get(words))
    ]
    if len(found) < 2 or sum(found) < 0.95 * len(found):
        return False
    table.notes.append(
        Text(
            f"{table.where}: the number after each character (its place in its word) is taken off.",
            f"{table.where}：每个字后面的数字（字在词中的位置）已去掉。",
        )
    )
    return True


def _check_count(words: Sequence[str], tags: Sequence[str]) -> None:
    if len(words) != len(tags):
        raise BadRow(
            Text(f"{len(words)} words and {len(tags)} tags", f"{len(words)} 个词而有 {len(tags)} 个标签"),
            Text("Give every word one tag.", "请给每个词恰好一个标签。"),
        )


def _check_bio(words: Sequence[str], tags: Sequence[str]) -> None:
    place = invalid_place(tags)
    if place is not None and tags[place][:2] != "I-":
        raise BadRow(
            Text(
                f"word {place + 1} ({words[place]!r}) has the tag {tags[place]}, which neither begins nor goes on with a span",
                f"第 {place + 1} 个词（{words[place]!r}）的标签 {tags[place]} 既不开始片段，也不延续片段",
            ),
            Text("Write O, or B- or I- before what the span is.", "请改为 O，或在片段类型之前写 B- 或 I-。"),
        )
    if place is not None:
        kind = tags[place][2:]
        raise BadRow(
            Text(
                f"word {place + 1} ({words[place]!r}) has the tag {tags[place]}, but no {kind} goes before it",
                f"第 {place + 1} 个词（{words[place]!r}）的标签是 {tags[place]}，但它前面没有 {kind}",
            ),
            Text(f"Write B-{kind} there, or tag the word before.", f"请改为 B-{kind}，或给前一个词加标签。"),
        )
