"""Which encoding a text file is in, judged from a sample of its bytes.

Order of judgement: a byte-order mark; UTF-8; then GB18030, Big5 and UTF-16 without a mark, by how common the
letters are that each of them would give; then Western European; then whatever charset-normalizer finds.
Common letters are those that the standards themselves put first: level 1 of GB 2312 and of Big5.
"""

import codecs
import functools
import re

from hanlin.base.errors import MissingExtra
from hanlin.base.language import Text

SAMPLE_BYTES = 1 << 16
"""How much of a file is looked at."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CHINESE = ("gb18030", "big5hkscs", "utf-16-le", "utf-16-be")
_LEGACY = [
    "gb18030",
    "big5",
    "shift_jis",
    "euc_jp",
    "euc_kr",
    "cp1251",
    "koi8_r",
    "cp1250",
    "cp1253",
    "cp1256",
]
_SURE, _POSSIBLE, _SHORT_BYTES = 1.1, 0.7, 48
_FREQUENT = frozenset(
    "的一是不了在人有我他这個个们中来上大为和国地到以说時时要就出会可也你对生能而子那得于着下自之年过发后作里"
    "用道行所然家种事成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心本前开但因只从想实日軍者"
    "，。、：；？！“”《》（）「」　"
)
_CONTROL = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f\x7f]")
_HIGH_RUN = re.compile(rb"[\x80-\xff]+")


def detect_encoding(sample: bytes, complete: bool) -> str | None:
    """Name the codec of a text that begins with `sample`, or None if the bytes are not text.

    `complete` says that the sample is the whole text: otherwise a character cut at its end is no error.
    """
    for mark, codec in _MARKS:
        if sample.startswith(mark):
            return codec
    if b"\0" not in sample and (_decode(sample, "utf-8", complete) is not None or _is_mostly_utf8(sample)):
        return None if _is_binary(sample) else "utf-8"
    binary = _is_binary(sample)
    chinese = max(_CHINESE, key=lambda codec: _plausibility(sample, codec, complete))
    score = _plausibility(sample, chinese, complete)
    if score <= _SURE and not binary and (western := _western(sample, complete)):
        return western
    if score > _SURE or (score > _POSSIBLE and (len(sample) < _SHORT_BYTES or chinese.startswith("utf-16"))):
        return "big5" if chinese == "big5hkscs" and _decode(sample, "big5", complete) is not None else chinese
    return None if binary else _guess(sample, complete)


def _decode(sample: bytes, codec: str, complete: bool) -> str | None:
    try:
        return codecs.getincrementaldecoder(codec)().decode(sample, final=complete)
    except UnicodeDecodeError:
        return None


def _is_binary(sample: bytes) -> bool:
    return b"\0" in sample or len(_CONTROL.findall(sample)) > len(sample) // 200


def _is_mostly_utf8(sample: bytes) -> bool:
    """Whether a UTF-8 text has a few damaged places: many valid multi-byte characters, few invalid bytes."""
    text = sample.decode("utf-8", errors="replace")
    damaged = text.count("\ufffd")
    valid = len(text) - damaged - sum(map(str.isascii, text))
    return valid >= 20 and valid > 20 * damaged


def _plausibility(sample: bytes, codec: str, complete: bool) -> float:
    """How far the sample, read with `codec`, is text: 1 when all letters are common, more with frequent ones.

    Latin letters in UTF-16 count as common: read with the wrong byte order they would be rare letters.
    """
    text = _decode(sample, codec, complete)
    if text is None:
        return -1.0
    wide = codec.startswith("utf-16")
    counted = [c for c in text if c >= "\x80" or (wide and c > " ") or c < "\x08"]
    if not counted:
        return 0.0
    common = _common_letters()
    score = sum(
        1.0 + (c in _FREQUENT) if c in common or (wide and "\x20" < c < "\x7f") else -0.5 for c in counted
    )
    return score / len(counted)


@functools.cache
def _common_letters() -> frozenset[str]:
    """Level 1 of GB 2312 (rows 16-55, 3,755 letters) and of Big5 (A440-C67E, 5,401 letters), and punctuation."""
    gb = bytes(b for lead in range(0xB0, 0xD8) for trail in range(0xA1, 0xFF) for b in (lead, trail))
    trails = (*range(0x40, 0x7F), *range(0xA1, 0xFF))
    big5 = bytes(b for lead in range(0xA4, 0xC7) for trail in trails for b in (lead, trail))
    letters = gb.decode("gb2312", "ignore") + big5.decode("big5", "ignore")
    return frozenset(letters) | _FREQUENT | frozenset("—…‘’·～〈〉『』【】〔〕．％０１２３４５６７８９")


def _western(sample: bytes, complete: bool) -> str | None:
    """Western European text: few bytes over 7F, mostly alone. Latin-1 is read as its superset Windows-1252."""
    runs = _HIGH_RUN.findall(sample)
    if sum(len(run) == 1 for run in runs) < 0.5 * len(runs) or sum(map(len, runs)) > 0.2 * len(sample):
        return None
    return "cp1252" if _decode(sample, "cp1252", complete) is not None else "latin-1"


def _guess(sample: bytes, complete: bool) -> str | None:
    try:
        from charset_normalizer import from_bytes
    except ImportError as error:
        raise MissingExtra(Text("Detecting this file's encoding", "检测该文件的编码"), "data") from error
    end = len(sample) if complete else max(sample.rfind(b"\n") + 1, 0) or len(sample)
    best = from_bytes(sample[:end], cp_isolation=_LEGACY, threshold=0.5).best()
    return None if best is None else str(best.encoding)
