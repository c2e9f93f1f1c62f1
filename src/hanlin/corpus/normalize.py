"""Unicode and whitespace made uniform, keeping Chinese punctuation, code and formulas.

In this order: newlines; control, zero-width and direction characters; Unicode form; spaces; blank lines.
NFC never changes what a character means; full-width punctuation, x² and indentation stay. Idempotent.
"""

import re
import unicodedata

from hanlin.corpus.config import NormalizeConfig

_NEWLINES = re.compile("\r\n|[\r\v\f\x1c\x1d\x1e\x85\u2028\u2029]")
_REMOVED = re.compile(
    "[\x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ufdd0-\ufdef\ufffe\uffff\ud800-\udfff]"
)
"""Controls, soft hyphen, zero-width space, direction marks, byte-order mark, non-characters, lone surrogates."""

_JOINER = re.compile(
    "(?<![\u0600-\u08ff\u0900-\u0dff\u0f00-\u109f\u1780-\u17ff\ufe0f\U0001f300-\U0001faff])[\u200c\u200d]"
)
"""Joiners that join nothing: they are kept after Arabic, Indic and other joining scripts, and in emoji."""

_SPACES = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f]")
_PARAGRAPH_INDENT = re.compile("^\u3000+[ \u3000]*", re.MULTILINE)
_WIDE_GAP = re.compile("\u3000{2,}")
_TRAILING = re.compile("[ \t\u3000]+$", re.MULTILINE)
_BLANK_LINES = re.compile("\n{3,}")


def normalize(text: str, config: NormalizeConfig) -> str:
    """Return `text` in the configured Unicode form (Unicode Annex 15) with tidy lines; idempotent.

    - every newline is `\\n`; at most one blank line in a row; no space at line ends or around the whole;
    - no-break and typographic spaces become a space; spaces that indent or align stay;
    - ideographic spaces (U+3000) that indent a paragraph go, those within a line stay, one at a time.
    """
    text = _NEWLINES.sub("\n", text)
    text = _REMOVED.sub("", text)
    text = _JOINER.sub("", text)
    if not unicodedata.is_normalized(config.form, text):
        text = unicodedata.normalize(config.form, text)
    text = _SPACES.sub(" ", text)
    if "\u3000" in text:
        text = _PARAGRAPH_INDENT.sub("", text)
        text = _WIDE_GAP.sub("\u3000", text)
    text = _TRAILING.sub("", text)
    text = _BLANK_LINES.sub("\n\n", text)
    return text.strip("\n")
