"""How llama.cpp cuts text before byte pairs are merged: it knows schemes by name only.

Source: llm_tokenizer_bpe in src/llama-vocab.cpp of llama.cpp. Each scheme is given here as the `tokenizers`
library writes it, so that a name becomes a tokenizer, and a tokenizer finds its name.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tokenizers

from hanlin.tokenizer.patterns import GPT2, LLAMA3, QWEN2

_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}


def _steps(*patterns: str) -> dict[str, Any]:
    """Cut by each pattern in turn, then spell bytes."""
    cuts = [
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
        for pattern in patterns
    ]
    return {"type": "Sequence", "pretokenizers": [*cuts, _BYTES]}


@dataclass(frozen=True)
class Split:
    """One scheme.

    ignore_merges: a piece that is a token is that token, whatever the merges say.
    normal_form: Unicode normal form of the models that use the scheme; llama.cpp leaves text as it is.
    begins: whether llama.cpp puts the begin token first where the file does not say.
    """

    pre_tokenizer: dict[str, Any]
    ignore_merges: bool = False
    normal_form: str | None = None
    begins: bool = False


_ASCII_PUNCTUATION = r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]"""

SPLITS: dict[str, Split] = {
    "llama-bpe": Split(_steps(LLAMA3), ignore_merges=True, begins=True),
    "qwen2": Split(_steps(QWEN2), normal_form="NFC"),
    "smollm": Split(_steps(r"\p{N}", GPT2)),
    "gpt-2": Split(_steps(GPT2)),
    "deepseek-v3": Split(
        _steps(
            r"\p{N}{1,3}",
            "[一-龥぀-ゟ゠-ヿ]+",
            _ASCII_PUNCTUATION + r"[A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
            r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        )
    ),
    "default": Split(_steps(r"[\p{P}$+<=>^~|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]")),
}
"""Name in `tokenizer.ggml.pre` -> scheme."""

ALIASES = {"llama3": "llama-bpe", "llama-v3": "llama-bpe", "deepseek-r1-qwen": "qwen2", "megrez": "qwen2"}

PROBES = (
    "The quick brown fox jumps over the lazy dog.",
    "I don't think they'll say we're wrong; it's HE'S or 'tis, isn't it?",
    "今天天气很好，我们去公园散步吧。“真的吗？”她问。",
    "学而时习之，不亦说乎？有朋自远方来，不亦乐乎？人不知而不愠，不亦君子乎！",
    "翰林院（Hanlin Academy）设立于738年，共有1,280人；第3次、第12次。",
    "混排mixed文本text和数字12345以及English单词。",
    "1234567890 3.14159 -42 1,000,000 2024-05-17 １２３ ½ ² Ⅷ ٣٤٥",
    "x  5   10\t20\n\n  30\r\n\r\n\tend   ",
    "   leading and trailing spaces   ",
    "a\n\n\nb\n \n c \n",
    "def f(x: int) -> str:\n    return f\"{x!r}\" if x >= 0 else 'neg'  # note\n",
    '{"key": [1, 2.5, null], "path": "C:\\\\dir\\\\file_name.txt"}',
    "https://example.com/a-b_c?q=1&r=%20#top me@example.org",
    "(parenthesised) [bracketed] <tagged> “quoted” —dashed— …dots...",
    "emoji 😀👍🏽 👨‍👩‍👧‍👦 🇨🇳 ❤️ done",
    "naïve café Zürich Ελληνικά Русский עברית العربية हिन्दी ไทย",
    "日本語のテキスト、カタカナとひらがな。한국어 문장입니다.",
    "𠮷野家 㐀 𪚥 ﷽ zero\u200bwidth\u00a0nbsp\u3000wide",
    "$100 + €20 = £95 ~ 5% ^2 | a&b `code` ~~~",
    "CamelCaseWords snake_case_words SCREAMING_CASE x1y2z3",
    "一" * 40 + "word" * 12 + " " * 40 + "!" * 40,
)
"""Texts on which the schemes differ from one another and from ours: both languages, digits, spaces, symbols."""


@dataclass(frozen=True)
class Match:
    """The scheme nearest to a tokenizer's own.

    cut: the probes that it cuts otherwise; none where it is the same scheme. encoded: those of them that
    become other tokens. Fewer do, because a vocabulary has few tokens across borders that it was not
    trained across.
    """

    name: str
    cut: tuple[str, ...]
    encoded: tuple[str, ...]


def match_split(definition: dict[str, Any]) -> Match:
    """Find the scheme that cuts text as a parsed byte-level `tokenizer.json` does, else the one under which
    the fewest probes become other tokens."""
    own_cut, own_encode = _machine(definition)
    matches = []
    for name, split in SPLITS.items():
        cut, encode = _machine(definition | _settings_of(split, definition["model"]))
        otherwise = tuple(text for text in PROBES if cut(text) != own_cut(text))
        if not otherwise:
            return Match(name, (), ())
        matches.append(
            Match(name, otherwise, tuple(text for text in otherwise if encode(text) != own_encode(text)))
        )
    return min(matches, key=lambda match: len(match.encoded))


def _settings_of(split: Split, model: dict[str, Any]) -> dict[str, Any]:
    """What a tokenizer with this scheme has in its `tokenizer.json`."""
    return {
        "pre_tokenizer": split.pre_tokenizer,
        "normalizer": split.normal_form and {"type": split.normal_form},
        "model": model | {"ignore_merges": split.ignore_merges},
    }


def _machine(definition: dict[str, Any]) -> tuple[Callable[[str], list[str]], Callable[[str], list[int]]]:
    """Two functions of a text: its pieces and its ids, without the tokens that are added around it."""
    built = tokenizers.Tokenizer.from_str(json.dumps(definition))

    def cut(text: str) -> list[str]:
        text = built.normalizer.normalize_str(text) if built.normalizer else text
        return [piece for piece, _ in built.pre_tokenizer.pre_tokenize_str(text)]

    def encode(text: str) -> list[int]:
        ids: list[int] = built.encode(text, add_special_tokens=False).ids
        return ids

    return cut, encode
