"""The `files` source: find files, choose a reader by the ending, and yield every text with its origin."""

import glob
from collections.abc import Callable, Iterator
from pathlib import Path

from hanlin.base.errors import DataError
from hanlin.base.language import Text
from hanlin.corpus.config import FileFormat, FilesSource
from hanlin.corpus.intake import Intake, Raw, path_text
from hanlin.corpus.record_files import read_csv, read_json, read_jsonl, read_parquet, read_tsv
from hanlin.corpus.text_files import read_html, read_plain

Reader = Callable[[Path, FilesSource, Intake], Iterator[str]]

READERS: dict[FileFormat, Reader] = {
    "text": read_plain,
    "html": read_html,
    "jsonl": read_jsonl,
    "json": read_json,
    "csv": read_csv,
    "tsv": read_tsv,
    "parquet": read_parquet,
}
ENDINGS: dict[str, FileFormat] = {
    ".txt": "text",
    ".text": "text",
    ".md": "text",
    ".markdown": "text",
    ".rst": "text",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}


def find_files(source: FilesSource) -> tuple[list[Path], list[Path]]:
    """Return (files to read, files ignored for their ending), each sorted by path.

    Hidden files and folders are passed over. Raises `DataError` for a missing path, a folder or glob without
    readable files, and a single file of unknown ending.
    """
    root = Path(source.path).expanduser()
    if root.is_file():
        if source.format == "auto" and file_format(root) is None:
            raise DataError(
                Text(f"{root} has an unknown ending.", f"{root} 的扩展名无法识别。"),
                Text(
                    "Say what it is, for example format: text. Known endings: " + " ".join(ENDINGS),
                    "请指明格式，例如 format: text。已知扩展名：" + " ".join(ENDINGS),
                ),
            )
        return [root], []
    if not root.is_dir() and not glob.has_magic(source.path):
        raise DataError(
            Text(f"{root} does not exist.", f"{root} 不存在。"),
            Text("Check the path of this source.", "请检查该来源的路径。"),
        )
    pattern = glob.glob(str(root), recursive=True) if not root.is_dir() else [str(p) for p in root.rglob("*")]
    found = [path for path in map(Path, sorted(pattern)) if path.is_file() and not _is_hidden(path, root)]
    chosen = [path for path in found if source.format != "auto" or file_format(path) is not None]
    if not chosen:
        raise DataError(
            Text(
                f"{source.path} has no files to read ({len(found)} of other endings).",
                f"{source.path} 下没有可读的文件（其他扩展名的文件 {len(found)} 个）。",
            ),
            Text("Known endings: " + " ".join(ENDINGS), "已知扩展名：" + " ".join(ENDINGS)),
        )
    taken = set(chosen)
    return chosen, [path for path in found if path not in taken]


def _is_hidden(path: Path, root: Path) -> bool:
    inside = path.relative_to(root) if root.is_dir() else Path(path.name)
    return any(part.startswith(".") for part in inside.parts)


def file_format(path: Path) -> FileFormat | None:
    """The format that a file's ending stands for, with `.gz` or `.zst` after it or not."""
    endings = [ending.lower() for ending in path.suffixes]
    if endings and endings[-1] in (".gz", ".zst"):
        endings.pop()
        return None if endings[-1:] == [".parquet"] else ENDINGS.get(endings[-1] if endings else "")
    return ENDINGS.get(endings[-1] if endings else "")


def read_files(source: FilesSource, intake: Intake) -> Iterator[Raw]:
    """Yield every text of the source in the order of paths. Raises `DataError` as its readers do."""
    chosen, ignored = find_files(source)
    intake.ignored_endings.update(path_text(Path(path.suffix or path.name)) for path in ignored)
    for path in chosen:
        kind = file_format(path) if source.format == "auto" else source.format
        assert kind is not None
        intake.counts["files"] += 1
        for text in READERS[kind](path, source, intake):
            yield Raw(text, path_text(path), source.licence)
