"""The data card of a corpus: the facts of its report, for people."""

from collections.abc import Mapping
from typing import Any

_AMOUNTS = ("documents_in", "documents_out", "documents_changed", "characters_in", "characters_out")


def data_card(report: Mapping[str, Any]) -> str:
    """Markdown with what the corpus holds, where it came from and what was done to it; nothing but facts."""
    total = report["total"]
    parts = [
        "# Data card · 数据卡",
        f"{total['documents']:,} documents, {total['characters']:,} characters "
        f"({total['utf8_bytes']:,} bytes of UTF-8).",
        "## Sources · 来源",
        _table(
            ("source", "licence", "read", "kept", "characters kept", "share"),
            [
                (
                    source["name"],
                    "; ".join(source["licences"]) or "not stated",
                    f"{source['documents_read']:,}",
                    f"{source['documents_kept']:,}",
                    f"{source['characters_kept']:,}",
                    f"{source['share_of_characters']:.1%}",
                )
                for source in report["sources"]
            ],
        ),
        *[f"- {source['name']}: {source['cut']}." for source in report["sources"] if source["cut"]],
        "## Splits · 划分",
        _table(("split", "documents", "characters"), _counts(report["splits"])),
        "## Languages · 语种",
        _table(("language", "documents", "characters"), _counts(report["languages"])),
        "## Cleaning · 清洗",
        _table(
            ("step", "documents in", "documents out", "changed", "characters in", "characters out"),
            [(step["name"], *(f"{step[amount]:,}" for amount in _AMOUNTS)) for step in report["steps"]],
        ),
        *[
            f"- {step['name']}: {reason}: {entry['count']:,}"
            for step in report["steps"]
            for reason, entry in step["reasons"].items()
            if reason != "changed"
        ],
        *[f"- {warning}" for warning in report["warnings"]],
        "Samples of every step are in `report.json`; the whole configuration is in `hanlin.json`.",
    ]
    return "\n\n".join(parts).replace("\n\n- ", "\n- ") + "\n"


def _counts(counts: Mapping[str, Mapping[str, int]]) -> list[tuple[str, ...]]:
    return [
        (name or "unknown", f"{entry['documents']:,}", f"{entry['characters']:,}")
        for name, entry in counts.items()
    ]


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
