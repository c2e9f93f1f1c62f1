"""The corpus stage: sources -> normalise -> filter -> language -> scrub -> duplicates -> split -> shards and report."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hanlin.base.errors import DataError
from hanlin.base.files import atomic_folder, write_text
from hanlin.base.language import Text
from hanlin.base.manifest import Manifest, write_manifest
from hanlin.base.progress import console, progress_bar, track
from hanlin.base.records import SPLITS, Document, Split
from hanlin.corpus.card import data_card
from hanlin.corpus.cleaning import Cleaning
from hanlin.corpus.config import CorpusConfig
from hanlin.corpus.function_words import FunctionWords
from hanlin.corpus.intake import Intake, Raw
from hanlin.corpus.keeping import Keeping
from hanlin.corpus.shards import ShardWriter
from hanlin.corpus.sources import inputs_fingerprint, installed_version, open_intakes, read_sources
from hanlin.corpus.spill import Spill
from hanlin.corpus.split import check_splits, choose_split

_LIBRARIES = ("charset-normalizer", "phonenumbers", "py3langid", "pyarrow", "rensa", "resiliparse")


class _Amounts:
    """Documents and characters under names."""

    def __init__(self) -> None:
        self.documents: Counter[str] = Counter()
        self.characters: Counter[str] = Counter()

    def add(self, name: str, text: str) -> None:
        self.documents[name] += 1
        self.characters[name] += len(text)

    def as_report(self, names: list[str]) -> dict[str, dict[str, int]]:
        return {
            name: {"documents": self.documents[name], "characters": self.characters[name]} for name in names
        }


class _Totals:
    """What the corpus holds in the end."""

    def __init__(self) -> None:
        self.by_source = _Amounts()
        self.by_language = _Amounts()
        self.by_split = _Amounts()
        self.licences: dict[int, set[str]] = {}
        self.utf8_bytes = 0
        self.function_words = FunctionWords()
        self.given_splits: list[Split | None] = []
        """Of each document the side that its source stands on, if it says so."""

    def add(self, index: int, document: Document) -> None:
        self.by_source.add(str(index), document.text)
        self.by_language.add(document.language, document.text)
        self.licences.setdefault(index, set()).add(document.licence)
        self.utf8_bytes += len(document.text.encode("utf-8"))
        self.function_words.add(document.text)


def build_corpus(config: CorpusConfig, folder: Path) -> Manifest:
    """Build a corpus folder from the configured sources; the same sources give the same bytes.

    The folder holds `<split>/NNNNN.parquet`, `report.json`, `CARD.md` and `hanlin.json`. It appears only when all
    went well. Memory is bounded by the number of documents (about 2.2 KB each with near-duplicate search), not by
    their size; kept texts go through a temporary file beside the result.
    Raises `DataError` for unusable sources, for nothing left and for an empty split, `MissingExtra`, `DiskError`.
    """
    inputs = {"sources": inputs_fingerprint(config)}
    with atomic_folder(folder) as fresh:
        spill = Spill(fresh / "kept.jsonl")
        intakes = open_intakes(config)
        cleaning = Cleaning(config)
        keeping = Keeping(config.deduplicate, spill, cleaning.hide)
        totals = _Totals()
        for index, raw in _watched(read_sources(config, intakes)):
            document = cleaning.clean(raw)
            if document is not None and keeping.keep(document):
                totals.add(index, document)
                totals.given_splits.append(config.sources[index].split)
        _require_documents(spill, intakes, cleaning)
        _write_shards(config, keeping, spill, fresh, totals)
        spill.close()
        report = _report(intakes, cleaning, keeping, totals)
        write_text(fresh / "report.json", json.dumps(report, ensure_ascii=False, indent=1) + "\n")
        write_text(fresh / "CARD.md", data_card(report))
        for warning in totals.function_words.warnings():
            console.print(str(warning), style="yellow", markup=False, soft_wrap=True)
        summary = {key: report[key] for key in ("total", "splits", "languages")}
        return write_manifest(fresh, "corpus", config.model_dump(mode="json"), inputs, summary)


def _watched(texts: Iterator[tuple[int, Raw]]) -> Iterator[tuple[int, Raw]]:
    """Yield the texts while showing how many documents and characters have passed, and how fast."""
    characters = 0
    start = time.monotonic()
    with progress_bar() as progress:
        task = progress.add_task("corpus", total=None, detail="")
        for index, raw in texts:
            yield index, raw
            characters += len(raw.text)
            rate = characters / 1e6 / max(time.monotonic() - start, 1e-3)
            progress.update(task, advance=1, detail=f"{characters / 1e6:.1f} M characters, {rate:.1f} M/s")


def _require_documents(spill: Spill, intakes: list[Intake], cleaning: Cleaning) -> None:
    if len(spill) == 0:
        read = sum(intake.documents for intake in intakes)
        raise DataError(
            Text(
                f"No document is left of {read:,} read{_reasons(cleaning, ': ')}.",
                f"读入 {read:,} 篇文档，清洗后一篇不剩{_reasons(cleaning, '：')}。",
            ),
            Text(
                "Loosen filters.* or language.keep, or check that the sources hold the text you mean.",
                "请放宽 filters.* 或 language.keep，或检查来源中是否确有所需文本。",
            ),
        )


def _reasons(cleaning: Cleaning, before: str) -> str:
    """Why documents were dropped, the most frequent reason first."""
    reasons = Counter(
        {
            name: int(entry["count"])
            for step in (cleaning.filtered, cleaning.languages)
            for name, entry in step.reasons.items()
        }
    )
    return before * bool(reasons) + ", ".join(f"{name} {count:,}" for name, count in reasons.most_common(5))


def _write_shards(
    config: CorpusConfig, keeping: Keeping, spill: Spill, folder: Path, totals: _Totals
) -> None:
    sides = [
        given or choose_split(keeping.cluster_key(number), config.split)
        for number, given in enumerate(totals.given_splits)
    ]
    counts: dict[Split, int] = {split: sides.count(split) for split in SPLITS}
    check_splits(counts, config.split)
    writers = {split: ShardWriter(folder, split, config.shard_characters) for split in SPLITS}
    for side, document in zip(sides, track(spill.documents(), "shards", len(spill)), strict=True):
        writers[side].write(document)
        totals.by_split.add(side, document.text)
    for writer in writers.values():
        writer.close()


def _report(intakes: list[Intake], cleaning: Cleaning, keeping: Keeping, totals: _Totals) -> dict[str, Any]:
    for tag, count in cleaning.replaced.items():
        cleaning.scrubbed.tally(f"<{tag}>", count)
    keeping.near.tally("candidate pairs compared", keeping.candidates)
    documents = sum(totals.by_split.documents.values())
    characters = sum(totals.by_split.characters.values())
    by_language = totals.by_language
    languages = sorted(by_language.documents, key=lambda name: (-by_language.documents[name], name))
    return {
        "total": {"documents": documents, "characters": characters, "utf8_bytes": totals.utf8_bytes},
        "splits": totals.by_split.as_report(list(SPLITS)),
        "languages": by_language.as_report(languages),
        "sources": [
            _source_report(index, intake, totals, characters) for index, intake in enumerate(intakes)
        ],
        "warnings": [warning.en for warning in totals.function_words.warnings()],
        "steps": [step.as_report() for step in (*cleaning.steps, *keeping.steps)],
        "libraries": {name: installed_version(name) for name in _LIBRARIES},
    }


def _source_report(index: int, intake: Intake, totals: _Totals, characters: int) -> dict[str, Any]:
    kept = totals.by_source.characters[str(index)]
    return {
        **intake.as_report(),
        "licences": sorted(licence for licence in totals.licences.get(index, set()) if licence),
        "documents_kept": totals.by_source.documents[str(index)],
        "characters_kept": kept,
        "share_of_characters": round(kept / characters, 6),
    }
