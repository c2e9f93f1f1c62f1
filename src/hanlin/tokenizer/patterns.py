r"""How text is cut into pieces before byte pairs are merged. Merges never cross the border of a piece.

The pattern of Hanlin follows Llama 3 (Dubey et al. 2024; itself from GPT-4's `cl100k_base`) with three
changes:

- Han characters are pieces of their own, without the punctuation before them. Chinese puts no space after
  punctuation: the Llama 3 pattern makes tokens such as "，我们", so that a prompt that ends in "，" can
  only be continued by tokens that training seldom showed after it, and every common word is learnt twice.
  The price is 2 % more tokens in Chinese.
- A combining mark (`\p{M}`) stays with its letter, which Devanagari, Thai, Arabic and Hebrew need.
- Every piece has a greatest length, so that a megabyte without a space costs no more than any other
  megabyte, in training and in encoding. Shorter bounds on Han runs were tried and cost on both sides: a run
  cut every 4 characters shows each word in 4 positions, which makes 1.9 times as many distinct pieces
  (memory) and 5 % more tokens than a bound of 32.

The table of distinct pieces grows with the text whatever the pattern; `TokenizerConfig.memory_gb` bounds
it.

Both engines (`tokenizers` and `tiktoken`) read these patterns alike, which the tests check over all of
Unicode.
"""

from typing import Literal

PatternName = Literal["hanlin", "llama3"]

HANLIN = (
    r"'(?i:[sdmt]|ll|ve|re)"
    r"|\p{Han}{1,32}"
    r"|[^\r\n\p{L}\p{M}\p{N}]?[\p{L}\p{M}&&[^\p{Han}]]{1,32}"
    r"|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{M}\p{N}]{1,32}[\r\n]{0,32}"
    r"|\s{0,32}[\r\n]{1,32}"
    r"|\s{1,32}(?!\S)"
    r"|\s{1,32}"
)
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

PATTERNS: dict[PatternName, str] = {"hanlin": HANLIN, "llama3": LLAMA3}

COMPLETE = frozenset({HANLIN, LLAMA3, QWEN2, GPT2})
"""Patterns known to match every character of any text; `tiktoken` would silently drop what a pattern leaves
out."""
