"""`DataConfig`: where the records of a task come from."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from hanlin.base.config import Settings
from hanlin.corpus.config import SplitConfig
from hanlin.records.kinds import FormatName


class DataConfig(Settings):
    """Files of records, which columns hold what, and what becomes of rows that cannot be used."""

    train: tuple[Path, ...] = Field((), strict=False)
    """Files or folders that are learned from; several formats may be mixed."""
    valid: tuple[Path, ...] = Field((), strict=False)
    """Those that checkpoints are chosen by; default: a part of `train`, by hash."""
    test: tuple[Path, ...] = Field((), strict=False)
    """Those that are examined at the end; default: a part of `train`, by hash."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Of each field of the record (text, pair, label ...), the column that holds it; default: guessed, and said."""
    format: FormatName | None = None
    """Default: by the ending of each file and by what it holds."""
    on_error: Literal["stop", "skip"] = "stop"
    """At a row that cannot be used: stop and name it, or leave it out, count it and list it."""
    split: SplitConfig = SplitConfig(valid=0.1, test=0.1)
    """Shares of what is not given, by hash of the text, so that copies stay on one side."""
    folds: int = Field(0, ge=0)
    """Cross-validation with so many folds over the training records; 0: none."""
    length_ratio: float | None = Field(None, gt=1)
    """Translations whose length by that of their source is further than this factor from the median are left out and counted."""
    max_records: int | None = Field(None, ge=1)
    """At most so many training records, drawn at random; default: all."""
