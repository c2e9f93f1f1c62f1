"""Constraints compiled by `llguidance`, each once for each tokenizer. Source: https://github.com/guidance-ai/llguidance"""

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from hanlin.base.errors import MissingExtra
from hanlin.base.language import Text
from hanlin.generate.bans import token_pieces
from hanlin.generate.endless import is_endless
from hanlin.generate.grammar_errors import endless, never_satisfied, refused, too_complex, words_apart
from hanlin.generate.grammar_trial import trial
from hanlin.generate.parameters import ConstraintKind, SamplingParameters
from hanlin.tokenizer.tokenizer import Tokenizer

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

_JSON_FORM = {
    "item_separator": ", ",
    "key_separator": ": ",
    "whitespace_flexible": False,
    "coerce_one_of": False,
    "lenient": False,
}
"""JSON as `json.dumps` writes it: with white space at will, weak models write white space for ever."""


def compiled(parameters: SamplingParameters, kind: ConstraintKind, tokenizer: Tokenizer) -> "LLMatcher":
    """The matcher of a constraint before its first token, of the caller's own.

    Raises `RequestError` for one that is wrong, that no text satisfies, or that would need too much, and
    `MissingExtra` without the package.
    """
    value = getattr(parameters, kind)
    if value is False:
        raise never_satisfied(kind)
    if kind == "json_schema" and isinstance(value, dict) and is_endless(value):
        raise endless()
    value = {} if value is True else value  # the schema of all that is JSON
    source = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return _compiled(kind, source, tokenizer).deep_copy()


@lru_cache(maxsize=64)
def _compiled(kind: ConstraintKind, source: str, tokenizer: Tokenizer) -> "LLMatcher":
    library = _library()
    grammar = _written(kind, source)
    mistake = "" if kind == "choices" else trial(grammar)
    if mistake is None:
        raise too_complex(kind)
    if mistake:
        raise refused(kind, mistake)
    limits = library.LLParserLimits(verbose_errors=False)
    matcher: LLMatcher = library.LLMatcher(_vocabulary(tokenizer), grammar, limits=limits, log_level=0)
    matcher.compute_bitmask()  # finds what cannot begin, and what has too many beginnings
    if matcher.is_error():
        raise refused(kind, matcher.get_error())
    if matcher.is_stopped() and not matcher.is_accepting():
        raise never_satisfied(kind)
    return matcher


def _written(kind: ConstraintKind, source: str) -> str:
    """The constraint in the notation of the library."""
    library = _library()
    match kind:
        case "json_schema":
            grammar: str = library.LLMatcher.grammar_from_json_schema(source, overrides=_JSON_FORM)
        case "regex":
            grammar = f"start: /{library.regex_to_lark(source, use_ascii='d')}/"
        case "grammar":
            grammar = library.LLMatcher.grammar_from_lark(source)
        case "choices":
            grammar = f"start: {' | '.join(json.dumps(choice) for choice in json.loads(source))}"
    return grammar


class _Pieces:
    """What `LLTokenizer` reads of a tokenizer: the bytes of its tokens, and how it would write what a constraint leaves
    no choice about."""

    is_tokenizer_wrapper = True

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.eos_token_id = tokenizer.eos_id
        self.bos_token_id = tokenizer.bos_id
        self.special_token_ids = sorted(tokenizer.special_ids)
        self.tokens = list(token_pieces(tokenizer))
        self._ids = {piece: id for id, piece in enumerate(self.tokens)}
        self._longest = max(map(len, self.tokens))
        for id in tokenizer.special_ids:
            self.tokens[id] = tokenizer.special_text(id).encode()
        self._tokenizer = tokenizer

    def __call__(self, text: str | bytes) -> Sequence[int]:
        written = text.encode() if isinstance(text, str) else text
        ids = self._tokenizer.encode_inside(written.decode(errors="replace"), after_special=False)
        if b"".join(self.tokens[id] for id in ids) == written:
            return ids
        return self._by_longest(written)  # normalised, unknown, or in the middle of a character

    def _by_longest(self, written: bytes) -> list[int]:
        ids: list[int] = []
        while written:
            sizes = range(min(self._longest, len(written)), 0, -1)
            size = next((size for size in sizes if written[:size] in self._ids), 0)
            if not size:
                break
            ids.append(self._ids[written[:size]])
            written = written[size:]
        return ids


@lru_cache(maxsize=4)
def _vocabulary(tokenizer: Tokenizer) -> "LLTokenizer":
    if not tokenizer.writes_pieces:
        raise words_apart()
    ends = sorted(id for id in tokenizer.stop_ids if id < tokenizer.vocab_size)
    made: LLTokenizer = _library().LLTokenizer(
        _Pieces(tokenizer), n_vocab=tokenizer.vocab_size, eos_token=ends
    )
    return made


def _library() -> Any:
    try:
        import llguidance
    except ImportError as error:
        raise MissingExtra(Text("Constrained output", "约束输出"), "structured") from error
    return llguidance
