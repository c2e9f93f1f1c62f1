"""Compile a grammar in a process of its own, so that one that explodes takes nothing else with it.

The library overflows the stack of its process on chains of some thousand rules, and needs minutes for a few dozen
intersections: neither can be stopped from within. `python -P grammar_trial.py`, the grammar on standard input,
writes the mistake to standard output, or nothing. This file imports nothing of Hanlin, and starts fast.
"""

import contextlib
import subprocess
import sys
import threading
from typing import Any

SECONDS = 2
"""What a grammar may take of one processor to compile."""
_MEMORY = 2 * 2**30
"""Bytes of address space."""
_STACK = 2 * 2**20
"""Bytes of stack, a quarter of what threads have: what compiles here compiles there."""


def trial(grammar: str) -> str | None:
    """What is wrong with a grammar; empty if it compiles, None if it takes more time, memory or stack than there is."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", __file__],
            input=grammar.encode(),
            capture_output=True,
            timeout=10 * SECONDS,
        )
    except subprocess.TimeoutExpired:
        return None
    return done.stdout.decode() if done.returncode == 0 else None


class _Bytes:
    """The least tokenizer, for `LLTokenizer`: a token for each byte, and an end."""

    is_tokenizer_wrapper = True
    eos_token_id = 256
    bos_token_id = None
    tokens = (*(bytes([byte]) for byte in range(256)), b"<end>")
    special_token_ids = (256,)

    def __call__(self, text: str | bytes) -> list[int]:
        return list(text.encode() if isinstance(text, str) else text)


def _compile(grammar: str, mistakes: list[str]) -> None:
    import llguidance

    least: Any = _Bytes()
    limits = llguidance.LLParserLimits(verbose_errors=False)
    matcher = llguidance.LLMatcher(llguidance.LLTokenizer(least), grammar, limits=limits, log_level=0)
    mistakes.append(matcher.get_error())


def _limit() -> None:
    """Where the system has such limits; elsewhere the time of the clock has to do."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))


def _main() -> None:
    _limit()
    mistakes: list[str] = []
    threading.stack_size(_STACK)
    thread = threading.Thread(target=_compile, args=(sys.stdin.buffer.read().decode(), mistakes))
    thread.start()
    thread.join()
    sys.stdout.buffer.write(mistakes[0].encode())  # IndexError, and so exit code 1, where the thread failed


if __name__ == "__main__":
    _main()
