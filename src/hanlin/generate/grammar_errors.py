"""What is wrong with a constraint, in both languages; the details are in the words of the library."""

import re

from hanlin.base.errors import RequestError
from hanlin.base.language import Text
from hanlin.generate.parameters import ConstraintKind

_LONGEST = 300
_TOO_MUCH = re.compile(
    r"too many|too complex|too large|too big|fuel|limit|unable to determine|\d+ items", re.I
)


def refused(kind: ConstraintKind, mistake: str) -> RequestError:
    """The error for what the library says about a constraint."""
    if found := re.search(r"Unsatisfiable schema: (.*)", mistake):
        return never_satisfied(kind, found[1])
    if "NoExtension" in mistake:
        return never_satisfied(kind)
    if found := re.search(r"Unimplemented keys: (.*)", mistake):
        return RequestError(
            Text(
                f"{kind} uses keywords that are not supported: {found[1]}.",
                f"{kind} 含有不支持的关键字：{found[1]}。",
            ),
            Text(
                "Leave them out; docs/constraints.md lists those that are.",
                "请去掉它们；docs/constraints.md 列出了支持的关键字。",
            ),
        )
    if "too deeply nested" in mistake or "recursion limit" in mistake:
        return too_complex(kind)
    if found := re.search(r"error: (.*)", mistake):  # of the regular expression, under its text
        return _wrong_at(kind, mistake, found[1])
    if _TOO_MUCH.search(mistake):
        return too_complex(kind, mistake.splitlines()[0])
    return _wrong_at(kind, mistake, re.sub(r"^(at )?\d+\(\d+\): ", "", mistake.splitlines()[0]))


def too_complex(kind: ConstraintKind, detail: str = "") -> RequestError:
    """The error for a constraint that needs more time or memory than it may have."""
    told = _short(detail)
    return RequestError(
        Text(
            f"{kind} is too complex to be followed" + (f": {told}." if told else "."),
            f"{kind} 过于复杂，无法执行" + (f"：{told}。" if told else "。"),
        ),
        Text(
            "Simplify it: fewer alternatives, shorter repetitions, no long chains of rules or intersections.",
            "请加以简化：减少选项，缩短重复，不要使用很长的规则链或交集。",
        ),
    )


def never_satisfied(kind: ConstraintKind, detail: str = "", detail_zh: str = "") -> RequestError:
    """The error for a constraint that no text satisfies."""
    en, zh = _short(detail), _short(detail_zh or detail)
    return RequestError(
        Text(
            f"No text can satisfy the {kind}" + (f": {en}." if en else "."),
            f"没有文本能满足 {kind}" + (f"：{zh}。" if zh else "。"),
        ),
        Text("Correct the part that contradicts itself.", "请改正自相矛盾的部分。"),
    )


def endless() -> RequestError:
    """The error for a schema all of whose texts nest for ever."""
    return never_satisfied("json_schema", "it refers to itself without a way out", "它引用自身，且没有出口")


def words_apart() -> RequestError:
    """The error for a vocabulary whose tokens are words, with spaces that nobody wrote between them."""
    return RequestError(
        Text(
            "This model's tokenizer writes words, not text: what stands between them cannot be constrained.",
            "该模型的分词器只写出单词而非文本：无法约束单词之间的内容。",
        ),
        Text("Use a model with a BPE or Unigram tokenizer.", "请使用 BPE 或 Unigram 分词器的模型。"),
    )


def _wrong_at(kind: ConstraintKind, mistake: str, reason: str) -> RequestError:
    place = re.search(r"(\d+)\((\d+)\): ", mistake) if kind == "grammar" else None
    en, zh = (
        (f", line {place[1]}, column {place[2]}", f"第 {place[1]} 行第 {place[2]} 列") if place else ("", "")
    )
    return RequestError(
        Text(f"{kind}{en}: {_short(reason)}.", f"{kind} {zh}有误：{_short(reason)}。"),
        Text("Correct it, and try again.", "请改正后重试。"),
    )


def _short(text: str) -> str:
    return " ".join(text.split())[:_LONGEST].rstrip(".")
