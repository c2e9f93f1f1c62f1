"""The sides of the data: what is learned from, what checkpoints are chosen by, what is examined."""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from hanlin.base.errors import DataError
from hanlin.base.language import Text
from hanlin.base.records import SPLITS, Labelled, Question, Split, TaskRecord
from hanlin.corpus.config import SplitConfig
from hanlin.corpus.duplicates import text_digest
from hanlin.corpus.split import choose_split
from hanlin.records.config import DataConfig
from hanlin.records.load import load_records
from hanlin.records.loaded import Loaded, RecordT
from hanlin.records.rows import files_in

_SIDE_IN_NAME = re.compile(r"(?:^|[._-])(train|dev|valid|validation|val|test)(?:$|[._\-\d])", re.IGNORECASE)
_SIDES: dict[str, Split] = {
    "train": "train",
    "dev": "valid",
    "valid": "valid",
    "validation": "valid",
    "val": "valid",
    "test": "test",
}
_CHINESE_SIDES: dict[str, Split] = {"训练": "train", "验证": "valid", "开发": "valid", "测试": "test"}
_SHOWN = 5


def plain_text(text: str) -> str:
    """A text without differences of width (NFKC), case and white space: equal for copies."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def plain_inputs(record: TaskRecord) -> str:
    """All that a record gives, as `plain_text`, in one."""
    return "\x1f".join(map(plain_text, record.inputs))


def load_sides(schema: type[RecordT], config: DataConfig) -> dict[Split, Loaded[RecordT]]:
    """All three sides: as given, or a part of `train` by hash of its normalised input, so that copies stay together.

    Questions about one context stay together. A side that is neither given nor has a share is there, and empty. A folder
    for `train` whose files are named after sides (`train.tsv`, `dev.tsv`) is divided by these names. Notes of the train
    side say how it was divided, and which classes have one record. Raises `DataError` as `load_records`, and for a side
    that would be empty.
    """
    config, said = _divided_by_names(config)
    if not config.train:
        raise DataError(
            Text("No training records are named.", "没有指明训练数据。"),
            Text("Name files or folders: data.train.", "请在 data.train 中指明文件或文件夹。"),
        )
    sides: dict[Split, Loaded[RecordT]] = {"train": load_records(schema, config.train, config)}
    given: dict[Split, Sequence[Path]] = {"valid": config.valid, "test": config.test}
    for side, paths in given.items():
        if paths:
            sides[side] = load_records(schema, paths, config)
    sides = _split(sides, config.split)
    train = _drawn(sides["train"], config)
    notes = [*train.notes, *said, *_class_notes({**sides, "train": train})]
    sides["train"] = replace(train, notes=notes)
    return sides


def side_in_name(name: str) -> Split | None:
    """The side that the name of a file says: `dev.tsv`, `weiboNER_2nd_conll.train`."""
    found = _SIDE_IN_NAME.search(name)
    if found:
        return _SIDES[found[1].lower()]
    return next((side for word, side in _CHINESE_SIDES.items() if word in name), None)


def _divided_by_names(config: DataConfig) -> tuple[DataConfig, list[Text]]:
    """The config with a lone folder's files on the sides that their names say, if there is one for training."""
    lone = len(config.train) == 1 and not config.valid and not config.test
    if not lone or not config.train[0].expanduser().is_dir():
        return config, []
    by_side: dict[Split, list[Path]] = {side: [] for side in SPLITS}
    others: list[str] = []
    for file in files_in(config.train[0]):
        side = side_in_name(file.name)
        if side:
            by_side[side].append(file)
        else:
            others.append(file.name)
    if not by_side["train"] or not (by_side["valid"] or by_side["test"]):
        return config, []
    listed = "; ".join(
        f"{side}: {', '.join(one.name for one in files)}" for side, files in by_side.items() if files
    )
    left_en, left_zh = (
        (f"; left out: {', '.join(others)}", f"；不取：{'、'.join(others)}") if others else ("", "")
    )
    note = Text(
        f"{config.train[0]} is divided by the names of its files: {listed}{left_en}.",
        f"{config.train[0]} 按文件名划分：{listed}{left_zh}。",
    )
    return config.model_copy(update={side: tuple(files) for side, files in by_side.items()}), [note]


def _split(sides: dict[Split, Loaded[RecordT]], config: SplitConfig) -> dict[Split, Loaded[RecordT]]:
    """Sides that are not given, taken out of the training records."""
    shares: dict[Split, float] = {"valid": config.valid, "test": config.test}
    shares = {side: 0.0 if side in sides else share for side, share in shares.items()}
    train, wanted = (
        sides["train"],
        config.model_copy(update={str(side): share for side, share in shares.items()}),
    )
    numbers: dict[Split, list[int]] = {side: [] for side in SPLITS}
    for number, record in enumerate(train.records):
        numbers[choose_split(text_digest(_key(record)), wanted)].append(number)
    moved = _move_unseen_classes(train.records, numbers)
    divided = {side: train.chosen(numbers[side]) for side in SPLITS}
    # What was skipped and noted of the files is told once, with training.
    divided |= {side: replace(divided[side], skipped=[], notes=[]) for side in ("valid", "test")}
    divided |= {side: loaded for side, loaded in sides.items() if side != "train"}
    taken = [side for side, share in shares.items() if share]
    if empty := [side for side in SPLITS if not divided[side].records and (side == "train" or side in taken)]:
        raise _empty_side(empty, len(train))
    if taken:
        counts = ", ".join(f"{side} {len(divided[side]):,}" for side in SPLITS)
        note = Text(
            f"{' and '.join(taken)} taken from the training files by a hash of the text: {counts}.",
            f"{'、'.join(taken)} 由训练文件按文本散列划出：{counts}。",
        )
        divided["train"] = replace(divided["train"], notes=[*divided["train"].notes, note])
    if moved:
        note = Text(
            f"{moved} records of classes that training would not have seen were left in it.",
            f"有 {moved} 条记录的类别在训练部分中不会出现，因而留在训练部分。",
        )
        divided["train"] = replace(divided["train"], notes=[*divided["train"].notes, note])
    return divided


def _move_unseen_classes(records: Sequence[TaskRecord], numbers: dict[Split, list[int]]) -> int:
    """Take records of classes that only other sides have back to training, where they can be learned; how many."""
    labels = [record.labels or () if isinstance(record, Labelled) else () for record in records]
    seen = {label for number in numbers["train"] for label in labels[number]}
    moved = 0
    for side in SPLITS[1:]:
        unseen = [number for number in numbers[side] if not seen.issuperset(labels[number])]
        seen.update(label for number in unseen for label in labels[number])
        numbers[side] = [number for number in numbers[side] if number not in set(unseen)]
        numbers["train"] = sorted([*numbers["train"], *unseen])
        moved += len(unseen)
    return moved


def _key(record: TaskRecord) -> str:
    if isinstance(record, Question) and record.context:
        return plain_text(record.context)
    return plain_inputs(record)


def _empty_side(empty: Sequence[str], records: int) -> DataError:
    share = min(0.3, max(0.05, round(20 / max(records, 1), 2)))
    return DataError(
        Text(
            f"The {', '.join(empty)} side would be empty: there are {records:,} records to divide.",
            f"{'、'.join(empty)} 部分将为空：共有 {records:,} 条记录可分。",
        ),
        Text(
            f"Bring more records, give files for it, raise its share (split.valid, split.test; here to {share}), "
            "or set the share to 0.",
            f"请增加记录、为它指明文件、调大份额（split.valid、split.test，此处可用 {share}），或把份额设为 0。",
        ),
    )


def _drawn(train: Loaded[RecordT], config: DataConfig) -> Loaded[RecordT]:
    """At most `max_records` of the training records, in their order."""
    if config.max_records is None or len(train) <= config.max_records:
        return train
    drawn = np.random.default_rng(abs(config.split.seed)).choice(
        len(train), config.max_records, replace=False
    )
    kept = train.chosen(sorted(drawn.tolist()))
    note = Text(
        f"{config.max_records:,} of {len(train):,} training records drawn at random (max_records).",
        f"从 {len(train):,} 条训练记录中随机抽取 {config.max_records:,} 条（max_records）。",
    )
    return replace(kept, notes=[*kept.notes, note])


def _class_notes(sides: Mapping[Split, Loaded[RecordT]]) -> list[Text]:
    """Classes with one training record, and classes that are examined and never learned."""
    counts = {
        side: Counter(
            label
            for record in loaded.records
            if isinstance(record, Labelled)
            for label in record.labels or ()
        )
        for side, loaded in sides.items()
    }
    notes = []
    if alone := sorted(label for label, count in counts["train"].items() if count == 1):
        notes.append(
            Text(
                f"{len(alone)} classes have one training record: {_listed(alone)}.",
                f"{len(alone)} 个类别只有一条训练记录：{_listed(alone)}。",
            )
        )
    for side in SPLITS[1:]:
        if counts["train"] and (unseen := sorted(set(counts[side]) - set(counts["train"]))):
            notes.append(
                Text(
                    f"{len(unseen)} classes of the {side} side have no training record: {_listed(unseen)}.",
                    f"{side} 部分有 {len(unseen)} 个类别没有训练记录：{_listed(unseen)}。",
                )
            )
    return notes


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
