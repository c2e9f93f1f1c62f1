"""The names of formats of files and of tasks that records are for."""

from typing import Literal

FormatName = Literal[
    "jsonl", "json", "csv", "tsv", "parquet", "conll", "lines", "squad", "duie", "duee", "cluener"
]
"""Formats of files; what a row of them looks like (Alpaca, ShareGPT, messages, GLUE ...) is seen in its columns."""

RecordKind = Literal[
    "classify",
    "pair",
    "regress",
    "tag",
    "extract",
    "extract-json",
    "relate",
    "match",
    "rerank",
    "answer",
    "choice",
    "reply",
    "summarize",
    "translate",
    "rewrite",
    "chat",
]
"""Tasks, each of which has one kind of record."""
