"""Tables with delimiters: CSV, TSV with or without a header, and Parquet."""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

from hanlin.base.errors import MissingExtra
from hanlin.base.language import Text
from hanlin.corpus.intake import path_text
from hanlin.records.columns import plain_name
from hanlin.records.loaded import Problem, Row
from hanlin.records.names import KNOWN_NAMES
from hanlin.records.table import Table, Troubles, lines_of
from hanlin.records.values import is_number

_LONGEST_NAME = 40


def read_csv(path: Path) -> Table:
    """A CSV file; the delimiter is `,`, `;` or a tab, whichever the first line has most of."""
    troubles = Troubles()
    lines = lines_of(path, troubles)
    first = next(lines, "")
    delimiter = max(",;\t", key=first.count)
    cells = csv_cells(path, (line + "\n" for line in _chained(first, lines)), delimiter, troubles.problems)
    return _with_header(path, list(cells), troubles.problems)


def read_tsv(path: Path) -> Table:
    """A TSV file; quotation marks are text, as IANA's definition of text/tab-separated-values and GLUE's files have it."""
    troubles = Troubles()
    lines = enumerate(lines_of(path, troubles), 1)
    return _with_header(
        path, [(number, line.split("\t")) for number, line in lines if line.strip()], troubles.problems
    )


def read_parquet(path: Path) -> Table:
    """A Parquet file, all columns."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtra(Text("Reading Parquet", "读取 Parquet"), "data") from error
    try:
        read = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        problem = Problem(
            path_text(path),
            Text(f"not a readable Parquet file ({error})", f"不是可读的 Parquet 文件（{error}）"),
            Text("Write or download the file again.", "请重新生成或下载该文件。"),
        )
        return Table(path_text(path), [], [], [problem])
    rows = [Row(f"{path_text(path)}#{number}", values) for number, values in enumerate(read.to_pylist(), 1)]
    return Table(path_text(path), rows, list(read.column_names))


def _chained(first: str, rest: Iterable[str]) -> Iterator[str]:
    yield first
    yield from rest


def csv_cells(
    path: Path, lines: Iterable[str], delimiter: str, problems: list[Problem]
) -> Iterator[tuple[int, list[str]]]:
    """(line on which the row begins, its cells) of each row."""
    csv.field_size_limit(2**31 - 1)  # the csv module knows no other way; its default stops at 128 KiB
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        begins = rows.line_num + 1
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            open_quote = "unexpected end" in str(error)
            problems.append(
                Problem(
                    f"{path_text(path)}:{begins}",
                    Text("a quotation mark is opened and never closed", "引号没有闭合")
                    if open_quote
                    else Text(f"not valid CSV: {error}", f"不是有效的 CSV（{error}）"),
                    Text(
                        'Double the quotation marks inside a cell ("") and quote the whole cell.',
                        '单元格内的引号须写两遍（""），并给整个单元格加引号。',
                    ),
                )
            )
            continue
        if cells:
            yield begins, cells


def _with_header(path: Path, cells: list[tuple[int, list[str]]], problems: list[Problem]) -> Table:
    where = path_text(path)
    if not cells:
        return Table(where, [], [], problems)
    has_header = is_header([row for _, row in cells[:1000]])
    header = cells[0][1] if has_header else [str(number) for number in range(1, usual_width(cells) + 1)]
    header = distinct_names(header)
    rows = []
    for line, row in cells[1:] if has_header else cells:
        if len(row) == len(header):
            rows.append(Row(f"{where}:{line}", dict(zip(header, row, strict=True))))
        else:
            problems.append(wrong_width(f"{where}:{line}", len(row), len(header)))
    notes = [] if has_header else [no_header(where, header, cells[0][1])]
    return Table(where, rows, header, problems, notes, numbered=not has_header)


def is_header(cells: list[list[str]]) -> bool:
    """Whether the first row names the columns: no numbers, and known names, or short ones that do not stand below."""
    first, rest = [cell.strip() for cell in cells[0]], cells[1:]
    named = first if first[0] else first[1:]  # pandas leaves its index without a name
    alike = len(set(named)) < len(named) or not all(named)
    known = sum(plain_name(cell) in KNOWN_NAMES for cell in named)
    if known > alike and not any(map(is_number, named)):
        return True
    if alike or any(map(is_number, named)):
        return False
    if not first[0] or any(not cell or len(cell) > _LONGEST_NAME for cell in first):
        return False
    below = [{row[place].strip() for row in rest if place < len(row)} for place in range(len(first))]
    return len(first) > 1 and not any(cell in column for cell, column in zip(first, below, strict=True))


def distinct_names(header: list[str]) -> list[str]:
    """The names of a header, the nameless and those of one name told apart by their number: `column 1`, `text (2)`."""
    names: list[str] = []
    for number, name in enumerate((name.strip() for name in header), 1):
        names.append(f"column {number}" if not name else f"{name} ({number})" if name in names else name)
    return names


def usual_width(cells: list[tuple[int, list[str]]]) -> int:
    """How many cells most rows have."""
    widths = [len(row) for _, row in cells]
    return max(set(widths), key=widths.count)


def wrong_width(place: str, found: int, expected: int) -> Problem:
    """The problem of a row with too many or too few cells."""
    return Problem(
        place,
        Text(f"{found} columns where there should be {expected}", f"有 {found} 列，应有 {expected} 列"),
        Text("Mend the delimiters of that row.", "请修改该行的分隔符。"),
    )


def no_header(where: str, header: list[str], first: list[str]) -> Text:
    """What is said of a file without header: the numbers of its columns, with the first row."""
    shown = " | ".join(f"{name}: {cell:.30}" for name, cell in zip(header, first, strict=False))
    return Text(
        f"{where} has no header; its columns are called by their numbers ({shown}).",
        f"{where} 没有表头；各列以列号为名（{shown}）。",
    )
