"""From paths to tables: which files a folder has, which format each is in, and which aligned files belong together."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

from hanlin.base.errors import DataError
from hanlin.base.language import Text
from hanlin.corpus.intake import path_text
from hanlin.records.config import DataConfig
from hanlin.records.conll import is_conll, read_conll
from hanlin.records.delimited import read_csv, read_parquet, read_tsv
from hanlin.records.kinds import FormatName
from hanlin.records.lines import read_lines
from hanlin.records.loaded import Row
from hanlin.records.objects import read_json, read_jsonl
from hanlin.records.table import Table, Troubles, lines_of

_READERS: dict[FormatName, Callable[[Path], Table]] = {
    "jsonl": read_jsonl,
    "json": read_json,
    "csv": read_csv,
    "tsv": read_tsv,
    "parquet": read_parquet,
    "conll": read_conll,
    "lines": read_lines,
    "squad": read_json,
    "duie": read_json,
    "duee": read_json,
    "cluener": read_json,
}
_BY_ENDING: dict[str, FormatName] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".parquet": "parquet",
    ".conll": "conll",
    ".conllu": "conll",
    ".bio": "conll",
    ".bmes": "conll",
    ".bioes": "conll",
    ".iob": "conll",
    ".iob2": "conll",
}
_PASSED_OVER = (".md", ".html", ".pdf", ".py", ".sh", ".yaml", ".yml", ".log", ".zip", ".tar")
_SAMPLE_LINES = 2000


def read_tables(paths: Sequence[Path], config: DataConfig) -> list[Table]:
    """The files at `paths` (files, or folders of such), one table each; aligned files of lines are one table.

    Raises `DataError` for a path that does not exist and a folder without files.
    """
    groups = file_groups(paths, config)
    return [
        _side_by_side(group) if len(group) > 1 else _READERS[config.format or format_of(group[0])](group[0])
        for group in groups
    ]


def file_groups(paths: Sequence[Path], config: DataConfig) -> list[tuple[Path, ...]]:
    """The files at `paths`, each by itself, or those together that are aligned line by line. Raises as `read_tables`."""
    files = [file for path in paths for file in files_in(path)]
    formats = [config.format or format_of(file) for file in files]
    return _aligned(files, formats) or [(file,) for file in files]


def files_in(path: Path) -> list[Path]:
    """A file itself; of a folder, all files in it that may hold records, sorted. Raises `DataError`."""
    path = path.expanduser()
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(
            Text(f"{path} does not exist.", f"{path} 不存在。"),
            Text("Check the path of these records.", "请检查这些记录的路径。"),
        )
    inside = sorted(file for file in path.rglob("*") if file.is_file())
    found = [
        file
        for file in inside
        if file.suffix.lower() not in _PASSED_OVER
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
    ]
    if not found:
        raise DataError(
            Text(f"{path} holds no files of records.", f"{path} 中没有存放记录的文件。"),
            Text(
                "Name a folder with JSONL, CSV, TSV or other files.",
                "请指明含有 JSONL、CSV、TSV 等文件的文件夹。",
            ),
        )
    return found


def format_of(path: Path) -> FormatName:
    """The format of a file by its ending, or by the form of its first lines."""
    endings = [ending.lower() for ending in path.suffixes if ending.lower() not in (".gz", ".zst")]
    if endings and endings[-1] in _BY_ENDING:
        return _BY_ENDING[endings[-1]]
    lines = list(itertools.islice(lines_of(path, Troubles()), _SAMPLE_LINES))
    filled = [line for line in lines if line.strip()]
    first = filled[0].lstrip()[:1] if filled else ""
    if first in ("{", "["):
        return "json" if first == "[" or not filled[0].rstrip().endswith("}") else "jsonl"
    if is_conll(lines):
        return "conll"
    tabs = [line.count("\t") for line in filled]
    if endings[-1:] == [".tsv"] or (tabs and tabs[0] and tabs.count(tabs[0]) >= 0.9 * len(tabs)):
        return "tsv"
    return "lines"


def _aligned(files: Sequence[Path], formats: Sequence[FormatName]) -> list[tuple[Path, ...]] | None:
    """Files of plain lines of which two or more have one name and different endings (`train.en`, `train.de`), grouped."""
    if len(files) < 2 or any(kind != "lines" for kind in formats):
        return None
    groups: dict[Path, list[Path]] = {}
    for file in files:
        groups.setdefault(_unpacked(file).with_suffix(""), []).append(file)
    if all(len(group) == 2 for group in groups.values()):
        return [tuple(group) for group in groups.values()]
    lone = len(files) == 2 and not any(_unpacked(file).suffix == ".txt" for file in files)
    return [tuple(files)] if lone else None


def _unpacked(file: Path) -> Path:
    return file.with_suffix("") if file.suffix.lower() in (".gz", ".zst") else file


def _side_by_side(files: Sequence[Path]) -> Table:
    """Aligned files as one table, whose columns have the endings of the files for names.

    Raises `DataError` if one has more lines than the other.
    """
    troubles = Troubles()
    lines = [list(lines_of(file, troubles)) for file in files]
    where = " + ".join(map(path_text, files))
    if len({len(each) for each in lines}) > 1:
        counts = ", ".join(
            f"{path_text(file)} {len(each):,}" for file, each in zip(files, lines, strict=True)
        )
        raise DataError(
            Text(
                f"Aligned files have different numbers of lines: {counts}.", f"对齐的文件行数不同：{counts}。"
            ),
            Text(
                "Line n of one must belong to line n of the other; a translation without text is an empty line.",
                "两个文件的第 n 行须相互对应；没有译文的行请留空行。",
            ),
        )
    names = [_unpacked(file).suffix.removeprefix(".") for file in files]
    if len(set(names)) < len(names) or not all(names):
        names = [_unpacked(file).stem for file in files]
    rows = [
        Row(f"{path_text(files[0])}:{number}", dict(zip(names, cells, strict=True)))
        for number, cells in enumerate(zip(*lines, strict=True), 1)
    ]
    note = Text(f"{where} are read side by side, line by line.", f"{where} 按行对照读取。")
    return Table(where, rows, names, troubles.problems, [note])
