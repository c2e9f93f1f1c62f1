"""The special tokens, declared once: of the tokenizers that Hanlin trains, and those that end a turn
anywhere."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

ModelName = Literal["bpe", "wordpiece", "unigram"]


@dataclass(frozen=True)
class SpecialTokens:
    """Tokens with a meaning of their own. They have the lowest ids, and no text of a user produces them.

    `ordered` are all of them in the order of their ids from 0; `roles` says which plays "bos", "eos",
    "pad", "cls", "sep", "mask" or "unk".
    """

    ordered: tuple[str, ...]
    roles: Mapping[str, str]

    def with_sentinels(self, count: int) -> "SpecialTokens":
        """The same, and after them `count` tokens that stand for spans of text (T5, arXiv 1910.10683, section 3.1.4)."""
        return replace(self, ordered=(*self.ordered, *(f"<|span_{number}|>" for number in range(count))))

    def ids(self) -> "SpecialIds":
        """Their ids by what they are for."""
        numbers = {token: id for id, token in enumerate(self.ordered)}
        of = {role: numbers[token] for role, token in self.roles.items()}
        end = of.get("eos", of.get("sep"))
        assert end is not None
        return SpecialIds(
            end=end,
            pad=of["pad"],
            cls=of.get("cls"),
            sep=of.get("sep"),
            mask=of.get("mask"),
            sentinels=tuple(id for token, id in numbers.items() if token.startswith("<|span_")),
            all=frozenset(numbers.values()),
        )


@dataclass(frozen=True)
class SpecialIds:
    """Special tokens by what they are for; None, or none, where a tokenizer has no such token.

    end: what ends a document, and stands before the next one in a token store. all: every special id.
    """

    end: int
    pad: int
    cls: int | None
    sep: int | None
    mask: int | None
    sentinels: tuple[int, ...]
    all: frozenset[int]


_GENERATIVE = ("<|endoftext|>", "<|pad|>", "<|im_start|>", "<|im_end|>")
_GENERATIVE_ROLES = {"bos": "<|endoftext|>", "eos": "<|endoftext|>", "pad": "<|pad|>"}

SPECIAL_TOKENS: Mapping[ModelName, SpecialTokens] = MappingProxyType(
    {
        "bpe": SpecialTokens(_GENERATIVE, _GENERATIVE_ROLES),
        "unigram": SpecialTokens(
            (*_GENERATIVE, "<|mask|>", "<|unknown|>"),
            {**_GENERATIVE_ROLES, "mask": "<|mask|>", "unk": "<|unknown|>"},
        ),
        "wordpiece": SpecialTokens(
            ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
            {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"},
        ),
    }
)
"""Of BPE: end of a document, padding, begin and end of a turn. Of WordPiece: BERT's (Devlin et al. 2019).
Unigram has those of BPE, a mask, and a token for the unknown that the bytes of unknown characters keep
from ever being used."""

TURN_ENDS = (
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end|>",
    "<|eot|>",
    "<|endofturn|>",
    "<end_of_turn>",
    "<|end_of_turn|>",
)
"""Special tokens that end a turn in the families of the ecosystem. One that a tokenizer declares stops
generation, because many model folders name only the end of a document as their end token and then never
stop chatting."""
