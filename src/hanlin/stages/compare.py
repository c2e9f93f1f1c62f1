"""`hanlin compare`: models on the same records, by the paired bootstrap: which is better, how surely, and where they differ."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from rich.table import Table

from hanlin.base.errors import CheckpointError, DataError
from hanlin.base.language import Text, speaks_chinese
from hanlin.base.records import Record
from hanlin.evaluate.compare_page import Compared, Disagreement, Rival, write_compare_page
from hanlin.evaluate.figure_names import figure_name, span, written
from hanlin.evaluate.figures import difference, figures
from hanlin.evaluate.task_results import RESULTS, PredictionLine, read_task_results
from hanlin.tasks.kinds import AnyTask
from hanlin.tasks.task import AnyRecordTask

EXAMINATION = "examination"
"""The folder of an examination beside or in what was fine-tuned."""


@dataclass(frozen=True)
class Examined:
    """What a model said of records with answers, by the settings of its task."""

    name: str
    task: AnyRecordTask
    records: list[Any]
    predictions: list[Any]
    places: list[str]
    wrongness: list[float] = field(default_factory=list)

    @property
    def keys(self) -> list[str]:
        """What a record is known by: its content."""
        return [record.model_dump_json() for record in self.records]
