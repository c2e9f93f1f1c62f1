"""Which side of the split a document stands on."""

import hashlib
from collections.abc import Mapping

from hanlin.base.errors import DataError
from hanlin.base.language import Text
from hanlin.base.records import Split
from hanlin.corpus.config import SplitConfig


def choose_split(key: bytes, config: SplitConfig) -> Split:
    """The side of all documents with this cluster key; depends on key, shares and seed only.

    More documents never move one that was there: a hash of the key, uniform in [0, 1), falls below the test
    share, below test + valid, or above.
    """
    digest = hashlib.blake2b(key, digest_size=8, salt=config.seed.to_bytes(8, "big", signed=True)).digest()
    position = int.from_bytes(digest, "big") / 2**64
    if position < config.test:
        return "test"
    return "valid" if position < config.test + config.valid else "train"


def check_splits(counts: Mapping[Split, int], config: SplitConfig) -> None:
    """Raise `DataError` if a side that was asked for got no document."""
    documents = sum(counts.values())
    asked: dict[Split, float] = {"train": 1.0, "valid": config.valid, "test": config.test}
    empty = [side for side, share in asked.items() if share > 0 and counts[side] == 0]
    if not empty:
        return
    sides = ", ".join(empty)
    suggested = min(0.25, max(0.02, round(20 / max(documents, 1), 2)))
    raise DataError(
        Text(
            f"The {sides} split would be empty: {documents:,} documents are left after cleaning "
            f"(valid {config.valid}, test {config.test}).",
            f"{sides} 部分将为空：清洗后只剩 {documents:,} 篇文档（valid {config.valid}，test {config.test}）。",
        ),
        Text(
            f"Bring more documents, raise split.valid and split.test (here to {suggested}), try another "
            "split.seed, cut long files into more documents (max_document_characters of a source), or set the share to 0.",
            f"请增加文档，调大 split.valid 和 split.test（此处可用 {suggested}），换一个 split.seed，"
            "把长文件切成更多文档（来源的 max_document_characters），或把该份额设为 0。",
        ),
    )
