"""Labels of records as arrays, checked so that no wrong one reaches a loss: each refusal names the record.

B records, K classes.
"""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from hanlin.base.errors import DataError
from hanlin.base.language import Text
from hanlin.batches.batch import IGNORE
from hanlin.batches.ragged import name_record

Places = Sequence[str] | None
"""Where each record stands, such as `train.jsonl:17`; None: they are called by number."""


def class_labels(labels: Sequence[int | None], classes: int, places: Places = None) -> NDArray[np.int64]:
    """One class a record, (B,) int64; None does not count.

    Raises `DataError` for a label outside 0 .. classes-1, and where fewer than two classes occur: of one class nothing
    can be learned, nor told by an examination.
    """
    for number, label in enumerate(labels):
        if label is not None and not 0 <= label < classes:
            raise _outside(name_record(number, places), label, classes)
    check_classes({label for label in labels if label is not None}, len(labels))
    return np.array([IGNORE if label is None else label for label in labels], np.int64)


def check_classes(found: Collection[int | str], records: int) -> None:
    """Raise `DataError` if the labels `found` in a split are fewer than two."""
    if len(found) < 2:
        said, said_zh = ("only the label", "只有标签") if found else ("no label", "没有任何标签")
        which = "".join(f" {label}" for label in found)
        raise DataError(
            Text(f"The {records} records of this split hold {said}{which}.",
                 f"该部分的 {records} 条记录中{said_zh}{which}。"),
            Text("Give records of at least two classes in each split (shuffle them before splitting).",
                 "请让每个部分至少含两个类别（划分前先打乱）。"),
        )  # fmt: skip


def label_sets(sets: Sequence[Sequence[int]], classes: int, places: Places = None) -> NDArray[np.int64]:
    """Any number of labels a record, (B, K) int64: 1 for those that it has, else 0.

    Raises `DataError` for a label outside 0 .. classes-1.
    """
    table_BK = np.zeros((len(sets), classes), np.int64)
    for number, labels in enumerate(sets):
        for label in labels:
            if not 0 <= label < classes:
                raise _outside(name_record(number, places), label, classes)
            table_BK[number, label] = 1
    return table_BK


def numbers(values: Sequence[float], places: Places = None) -> NDArray[np.float32]:
    """One number a record, (B,) float32. Raises `DataError` for one that is not finite in float32."""
    for number, value in enumerate(values):
        if not abs(value) <= float(np.finfo(np.float32).max):  # nor is NaN
            raise DataError(
                Text(f"Record {name_record(number, places)} has the target {value}.",
                     f"记录 {name_record(number, places)} 的目标值是 {value}。"),
                Text("Give a finite number, or remove the record.", "请改为有限的数，或删除该记录。"),
            )  # fmt: skip
    return np.array(values, np.float32)


def balanced_weights(labels_B: NDArray[np.int64], classes: int) -> NDArray[np.float32]:
    """A weight for each class so that all weigh the same together: w_k = B / (K x records of k), (K,) float32.

    Their mean over the records is 1. A class without records weighs 0, and is not among K. Source: after King & Zeng
    2001, "Logistic Regression in Rare Events Data" (weighting).
    """
    counts_K = np.bincount(labels_B[labels_B != IGNORE], minlength=classes)
    present = np.count_nonzero(counts_K)
    weights_K: NDArray[np.float64] = counts_K.sum() / (present * np.maximum(counts_K, 1)) * (counts_K > 0)
    return weights_K.astype(np.float32)


def _outside(record: str, label: int, classes: int) -> DataError:
    return DataError(
        Text(f"Record {record} has the label {label}; there are the labels 0 to {classes - 1}.",
             f"记录 {record} 的标签是 {label}；可用的标签为 0 到 {classes - 1}。"),
        Text("Mend the label, or set model.labels to the number of labels.",
             "请改正该标签，或把 model.labels 设为标签的数目。"),
    )  # fmt: skip
