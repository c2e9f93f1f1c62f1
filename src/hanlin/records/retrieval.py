"""Collections for retrieval: documents, queries, and which documents answer which query (the layout of BEIR)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hanlin.base.errors import DataError
from hanlin.base.language import Text
from hanlin.corpus.intake import path_text
from hanlin.records.loaded import Row
from hanlin.records.objects import read_jsonl
from hanlin.records.table import Table, Troubles, lines_of
from hanlin.records.values import is_empty, is_number, label_of

_ID = ("_id", "id", "doc_id", "docid", "query_id", "qid")


@dataclass(frozen=True)
class Retrieval:
    """corpus: text of each document (title and text). queries: text of each query that has judgements. judgements: of each
    query, how relevant documents are (0: not). notes: what was read and left out."""

    corpus: dict[str, str]
    queries: dict[str, str]
    judgements: dict[str, dict[str, float]]
    notes: list[Text] = field(default_factory=list)


def load_retrieval(folder: Path, part: str = "") -> Retrieval:
    """A folder of `corpus.jsonl`, `queries.jsonl` and `qrels/test.tsv`, all perhaps with `.gz` or a part in their names.

    part: of several files of judgements, the one whose name holds this. Judgements are tables of query, document, grade
    with a header, or TREC's four columns. Source of the layout: Thakur et al. 2021 (arXiv 2104.08663). Raises `DataError`
    for what is missing, and for judgements of a query or document that is not there at all.
    """
    corpus_file = _one(folder, "corpus", "")
    judged_files = [*_found(folder, "qrels", part), *_found(folder / "qrels", "", part)]
    if len(judged_files) != 1:
        raise _not_one(folder, "qrels", judged_files)
    judgements = _judgements(judged_files[0])
    corpus = dict(_texts(read_jsonl(corpus_file)))
    queries = {key: text for file in _found(folder, "queries", "") for key, text in _texts(read_jsonl(file))}
    known = {
        query: {name: grade for name, grade in graded.items() if name in corpus}
        for query, graded in judgements.items()
        if query in queries
    }
    known = {query: graded for query, graded in known.items() if any(grade > 0 for grade in graded.values())}
    if not known:
        raise DataError(
            Text(
                f"{judged_files[0]} judges no query and document that stand in {folder}.",
                f"{judged_files[0]} 中的判断与 {folder} 中的查询和文档对不上。",
            ),
            Text("Check that the ids in the three files are the same.", "请检查三个文件中的编号是否一致。"),
        )
    empty = sum(not text for text in corpus.values())
    lost = len(judgements) - len(known)
    note = Text(
        f"{corpus_file.name}: {len(corpus):,} documents ({empty:,} of them empty); {judged_files[0].name}: {len(known):,} "
        f"queries with relevant documents ({lost:,} without query, document or any relevant one left out).",
        f"{corpus_file.name}：{len(corpus):,} 篇文档（{empty:,} 篇为空）；{judged_files[0].name}：{len(known):,} 个有相关文档的查询"
        f"（{lost:,} 个缺查询、缺文档或无相关文档，不取）。",
    )
    return Retrieval(corpus, {query: queries[query] for query in known}, known, [note])


def _found(folder: Path, beginning: str, part: str) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(
        file
        for file in folder.iterdir()
        if file.is_file() and file.name.startswith(beginning) and part in file.name
    )


def _one(folder: Path, beginning: str, part: str) -> Path:
    files = _found(folder, beginning, part)
    if len(files) != 1:
        raise _not_one(folder, beginning, files)
    return files[0]


def _not_one(folder: Path, what: str, files: Sequence[Path]) -> DataError:
    listed = ", ".join(file.name for file in files) or "-"
    return DataError(
        Text(
            f"{folder} should have one file of {what}; found: {listed}.",
            f"{folder} 应有一个 {what} 文件；找到：{listed}。",
        ),
        Text(
            "Name which part is meant (test, train), or bring corpus.jsonl, queries.jsonl and qrels/test.tsv together.",
            "请指明所用部分（test、train），或把 corpus.jsonl、queries.jsonl、qrels/test.tsv 放在一起。",
        ),
    )


def _texts(table: Table) -> Iterator[tuple[str, str]]:
    """(id, title and text) of each row. Raises `DataError` for rows without an id and files that are not as they should be."""
    if table.problems:
        first = table.problems[0]
        raise DataError(
            Text(f"{first.place}: {first.reason.en}.", f"{first.place}：{first.reason.zh}。"), first.mend
        )
    for row in table.rows:
        yield (
            _id(row),
            "\n".join(str(row.values[key]) for key in ("title", "text") if not is_empty(row.values.get(key))),
        )


def _id(row: Row) -> str:
    for key in _ID:
        if not is_empty(row.values.get(key)):
            return label_of(row.values[key])
    raise DataError(
        Text(f"{row.place}: no id ({', '.join(_ID)}).", f"{row.place}：没有编号（{'、'.join(_ID)}）。"),
        Text("Give every document and query an _id.", "请给每篇文档和每个查询一个 _id。"),
    )


def _judgements(file: Path) -> dict[str, dict[str, float]]:
    """Of each query, the grades of documents: three columns, or TREC's four (query, 0, document, grade)."""
    judged: dict[str, dict[str, float]] = {}
    for number, line in enumerate(lines_of(file, Troubles()), 1):
        cells = line.split("\t") if "\t" in line else line.split()
        if not line.strip() or (number == 1 and cells and not is_number(cells[-1])):
            continue
        if len(cells) not in (3, 4) or not is_number(cells[-1]):
            raise DataError(
                Text(f"{path_text(file)}:{number}: not a judgement: {line!r:.60}", f"{path_text(file)}:{number}：不是相关性判断：{line!r:.60}"),
                Text("Write query, document and grade with tabs between.", "请写查询、文档、等级，以制表符分隔。"),
            )  # fmt: skip
        judged.setdefault(cells[0].strip(), {})[cells[-2].strip()] = float(cells[-1])
    return judged
