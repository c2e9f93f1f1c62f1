"""Files of one word a line with its tags in columns, a blank line between sentences (CoNLL-2003, cs/0306050)."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from hanlin.base.language import Text
from hanlin.corpus.intake import path_text
from hanlin.records.loaded import Problem, Row
from hanlin.records.table import Table, Troubles, lines_of

_BOUNDARY = "-DOCSTART-"


def cells_of(line: str) -> list[str]:
    """The cells of a line: between tabs if it has any, else between white space; a lone tag follows a word that is space."""
    if "\t" in line:
        return line.split("\t")
    cells = line.split()
    return [" ", *cells] if len(cells) == 1 and line[:1].isspace() else cells


def is_conll(lines: Sequence[str]) -> bool:
    """Whether the beginning of a file looks like one word a line: blank lines between, short cells, as many in each line."""
    words = [line for line in lines if line.strip() and not line.startswith((_BOUNDARY, "#"))]
    blank = sum(not line.strip() for line in lines[:-1])
    if not words or (not blank and len(lines) > 1000):
        return False
    widths = [len(cells_of(line)) for line in words]
    short = all(len(line) < 200 and not any(" " in cell.strip() for cell in cells_of(line)) for line in words)
    usual = max(set(widths), key=widths.count)
    return blank > 0 and short and usual >= 2 and widths.count(usual) >= 0.95 * len(widths)


def read_conll(path: Path) -> Table:
    """One row a sentence: a list of cells for each column, which are called by their numbers."""
    troubles = Troubles()
    where = path_text(path)
    rows: list[Row] = []
    width = 0
    for first, lines in _sentences(path, troubles):
        cells = [cells_of(line) for line in lines]
        width = width or max((len(cell) for cell in cells), key=[len(cell) for cell in cells].count)
        bad = next((place for place, cell in enumerate(cells) if len(cell) != width), None)
        if bad is not None:
            troubles.problems.append(_uneven(f"{where}:{first + bad}", lines[bad], width))
            continue
        columns = (list(column) for column in zip(*cells, strict=True))
        rows.append(
            Row(f"{where}:{first}", {str(number): column for number, column in enumerate(columns, 1)})
        )
    names = [str(number) for number in range(1, width + 1)]
    note = Text(
        f"{where} has one word a line, in {width} columns; they are called by their numbers.",
        f"{where} 每行一个词，共 {width} 列，各列以列号为名。",
    )
    return Table(where, rows, names, troubles.problems, [note], numbered=True)


def _sentences(path: Path, troubles: Troubles) -> Iterator[tuple[int, list[str]]]:
    """(number of the first line, the lines) of each sentence; comments of CoNLL-U and document marks are left out."""
    held: list[str] = []
    first = 1
    for number, line in enumerate(lines_of(path, troubles), 1):
        comment = line.startswith("# ") and not held
        if line.strip() and not line.startswith(_BOUNDARY) and not comment:
            if not held:
                first = number
            held.append(line)
        elif held and not comment:
            yield first, held
            held = []
    if held:
        yield first, held


def _uneven(place: str, line: str, width: int) -> Problem:
    return Problem(
        place,
        Text(
            f"{len(cells_of(line))} columns where the lines before have {width}: {line!r:.60}",
            f"有 {len(cells_of(line))} 列，而前面的行有 {width} 列：{line!r:.60}",
        ),
        Text(
            "Give every word one line with its tag, and put a blank line between sentences.",
            "请让每个词连同标签各占一行，句子之间空一行。",
        ),
    )
