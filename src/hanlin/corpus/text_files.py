"""Readers of plain text, Markdown and HTML files: one document a file, long plain texts in several."""

from collections.abc import Iterator
from pathlib import Path

from hanlin.corpus.config import FilesSource
from hanlin.corpus.html import html_text
from hanlin.corpus.intake import Intake
from hanlin.corpus.stream import text_blocks, whole_text

LONGEST_PAGE = 64 << 20


def read_plain(path: Path, source: FilesSource, intake: Intake) -> Iterator[str]:
    """Yield the text of `path`, cut into documents of at most `source.max_document_characters`."""
    limit = source.max_document_characters
    rest = ""
    cut = False
    for block in text_blocks(path, source.encoding, intake):
        rest += block
        while len(rest) > limit:
            end = _cut(rest, limit)
            yield rest[:end]
            rest = rest[end:]
            cut = True
    intake.counts["files cut into several documents"] += cut
    if rest:
        yield rest


def _cut(text: str, limit: int) -> int:
    """Where to end a document: after the last blank line before `limit`, else line, else sentence or space."""
    for mark in ("\n\n", "\n", "。", ". ", " "):
        end = text.rfind(mark, limit // 2, limit)
        if end >= 0:
            return end + len(mark)
    return limit


def read_html(path: Path, source: FilesSource, intake: Intake) -> Iterator[str]:
    """Yield the title and main content of a page, or all its text where no main content is found (counted)."""
    markup = whole_text(path, source.encoding, intake, LONGEST_PAGE)
    if not markup:
        return
    text, is_main = html_text(markup)
    intake.counts["pages without main content, all text taken"] += not is_main
    yield text
