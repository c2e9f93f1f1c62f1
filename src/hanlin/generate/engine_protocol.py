"""What everybody who wants text needs of an engine, whichever computes."""

from collections.abc import Sequence
from typing import Protocol

from hanlin.generate.generation import Generation, Piece
from hanlin.generate.parameters import SamplingParameters
from hanlin.tokenizer.tokenizer import Tokenizer


class TextEngine(Protocol):
    """Continues many prompts at once; requests come and go at any step.

    `submit`, `check_prompt`, `cancel` and `busy` may be called from any thread, `step` by one thread at a time.
    """

    @property
    def tokenizer(self) -> Tokenizer:
        """Whose ids prompts and texts are."""

    @property
    def window(self) -> int:
        """The most tokens that prompt and continuation may have together."""

    @property
    def max_rows(self) -> int:
        """How many requests run at once; further ones wait in order."""

    @property
    def busy(self) -> bool:
        """Whether a step would do anything."""

    def submit(
        self, prompt_ids: Sequence[int], parameters: SamplingParameters, adapter: str | None = None
    ) -> Generation:
        """Ask for a continuation of `prompt_ids`, by the base or an adapter. Raises as `check_prompt`."""

    def check_prompt(self, prompt_ids: Sequence[int], adapter: str | None = None) -> None:
        """Raise `RequestError` for a prompt that is empty, does not fit or holds ids outside the vocabulary, and for
        an adapter that is not there."""

    def cancel(self, generation: Generation) -> None:
        """End `generation` at the next step with the reason "cancelled"; one that has ended stays as it is."""

    def step(self) -> list[Piece]:
        """Advance what runs; a piece for every request that advanced or ended.

        After an exception nothing runs or waits any more; all that did is "cancelled".
        """

    def another(self, max_rows: int) -> "TextEngine":
        """An engine over the same weights that has requests of its own; itself, where there can be only one."""
