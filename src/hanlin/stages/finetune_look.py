"""The look before a fine-tuning: what was read, what of it is doubtful, and what the model will really see."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
from rich.markup import escape

from hanlin.base.errors import MissingExtra
from hanlin.base.language import Text
from hanlin.base.progress import console
from hanlin.base.records import SPLITS, Labelled
from hanlin.batches.loader import Examples
from hanlin.records.doubts import find_doubts
from hanlin.stages.finetune_data import Learned
from hanlin.tasks.look import SeenRow, seen_rows
from hanlin.tasks.opened import Opened

ROWS = 3
"""Records that are shown as tokens."""

_BARS = " ▁▂▃▄▅▆▇█"
_MOST_LABELS = 12


def look(learned: Learned, opened: Opened, train: Examples) -> None:
    """Print it."""
    for line in (
        *_read_lines(learned),
        *_balance_lines(learned),
        *_length_lines(train),
        *map(str, learned.overlaps.texts()),
        *_doubt_lines(learned),
    ):
        console.print(f"  {line}", markup=False, soft_wrap=True)
    rows = seen_rows(train, range(min(ROWS, len(train))), opened.tokenizer, opened.model.config)
    console.print(str(Text("What the model sees (learned: green):", "模型所见（绿色为所学）：")))
    for row in rows:
        console.print(f"  {_coloured(row)}", soft_wrap=True)


def _read_lines(learned: Learned) -> Iterator[str]:
    counts = ", ".join(f"{side} {len(loaded):,}" for side, loaded in learned.sides.items())
    yield str(Text(f"Records: {counts}.", f"记录：{counts}。"))
    for side in SPLITS:
        yield from map(str, learned.sides[side].notes)
    for side, loaded in learned.sides.items():
        for problem in loaded.skipped[:ROWS]:
            yield str(
                Text(
                    f"Skipped in {side}: {problem.place}: {problem.reason.en}",
                    f"{side} 中略去：{problem.place}：{problem.reason.zh}",
                )
            )
        if len(loaded.skipped) > ROWS:
            yield str(
                Text(
                    f"... {len(loaded.skipped):,} skipped in {side} in all.",
                    f"……{side} 中共略去 {len(loaded.skipped):,} 条。",
                )
            )


def _balance_lines(learned: Learned) -> Iterator[str]:
    records = learned.sides["train"].records
    if not records or not isinstance(records[0], Labelled):
        return
    counts = Counter(label for record in records for label in record.labels or ())
    shown = ", ".join(f"{label} {count:,}" for label, count in counts.most_common(_MOST_LABELS))
    more = f" ... ({len(counts)})" if len(counts) > _MOST_LABELS else ""
    yield str(Text(f"Labels: {shown}{more}.", f"标签：{shown}{more}。"))
    rare = [label for label, count in counts.items() if count == 1]
    if rare:
        yield str(
            Text(
                f"Only one training record: {', '.join(rare[:5])}.",
                f"只有一条训练记录：{'、'.join(rare[:5])}。",
            )
        )


def _length_lines(train: Examples) -> Iterator[str]:
    sizes = getattr(train, "sizes", None)
    if sizes is None:
        return
    low, middle, high = np.percentile(sizes, [0, 50, 100]).astype(int)
    counts, _ = np.histogram(sizes, bins=20)
    bars = "".join(_BARS[-(-count * 8 // counts.max())] for count in counts)
    yield str(
        Text(
            f"Tokens a record: {low} {bars} {high}, median {middle}.",
            f"每条记录的词元：{low} {bars} {high}，中位数 {middle}。",
        )
    )
    lengths = getattr(train, "lengths", None)
    if lengths is not None and lengths.cut_records:
        yield str(Text(f"{lengths.cut_records:,} records are cut, by {lengths.cut_tokens:,} tokens in all.",
                       f"{lengths.cut_records:,} 条记录被截断，共 {lengths.cut_tokens:,} 个词元。"))  # fmt: skip
    unaligned = getattr(train, "unaligned", 0)
    if unaligned:
        yield str(
            Text(
                f"{unaligned:,} spans begin or end within a token, which no label can tell exactly.",
                f"{unaligned:,} 个片段的边界落在词元之内，标签无法精确表示。",
            )
        )
    left_out = getattr(train, "left_out", ())
    if left_out:
        yield str(Text(f"{len(left_out):,} do not fit and are left out: {', '.join(left_out[:3])} ...",
                       f"{len(left_out):,} 条放不下而略去：{'、'.join(left_out[:3])}……"))  # fmt: skip


def _doubt_lines(learned: Learned) -> Iterator[str]:
    """Labels that a simple model doubts, of single classes."""
    train = learned.sides["train"]
    if not all(isinstance(record, Labelled) and len(record.labels or ()) == 1 for record in train.records):
        return
    try:
        doubts = find_doubts(train)
    except MissingExtra as missing:
        yield str(missing.problem)
        return
    yield from map(str, doubts.notes)
    if doubts.found:
        yield str(
            Text(
                f"{len(doubts.found):,} of {doubts.of:,} labels are doubtful, such as:",
                f"{doubts.of:,} 个标签中有 {len(doubts.found):,} 个可疑，例如：",
            )
        )
    for doubt in doubts.found[:ROWS]:
        yield f"  {doubt.place}: {doubt.label} ({doubt.likelier}?) {doubt.text[:80]}"


def _coloured(row: SeenRow) -> str:
    tokens = [
        f"[green]{escape(one.text)}[/]" + (f"[dim]/{escape(one.target)}[/]" if one.target else "")
        if one.role == "learned"
        else escape(one.text)
        for one in row.tokens
    ]
    target = f" → [green]{escape(row.target)}[/]" if row.target else ""
    return "·".join(tokens) + target
