"""Guesses by a smaller model with the same tokens."""

from collections.abc import Sequence
from copy import copy

from hanlin.base.errors import ConfigError
from hanlin.base.language import Text
from hanlin.generate.proposals import Wanted
from hanlin.generate.runner import Chunk, Runner
from hanlin.generate.slots import common_length
from hanlin.tokenizer.tokenizer import Tokenizer

READ = 512
"""Tokens of a text that the draft model reads in one step; while it has more to read it guesses nothing."""


class DraftModel:
    """What a smaller model finds likeliest. Its cache comes on top of the model's: as many tokens, of its own size."""

    def __init__(
        self, runner: Runner, tokenizer: Tokenizer, model: Runner, model_tokenizer: Tokenizer
    ) -> None:
        """runner, tokenizer: of the draft model; the others of the model for which it guesses.

        Raises `ConfigError` where their tokens are not the same.
        """
        if tokenizer.fingerprint != model_tokenizer.fingerprint:
            raise _other_tokens()
        self._runner = runner if runner.slots >= model.slots else runner.another(model.slots)
        self._vocab_size = tokenizer.vocab_size
        self._held: dict[int, list[int]] = {}

    def propose(self, wanted: Sequence[Wanted]) -> list[Sequence[int]]:
        """As `Proposer`; all texts go through the draft model together."""
        guesses: dict[int, list[int]] = {one.slot: [] for one in wanted}
        chunks = [self._catch_up(one) for one in wanted if len(one.ids) < self._runner.window]
        most = {one.slot: min(one.most, self._runner.window - len(one.ids)) for one in wanted}
        while chunks:
            logits_BV = self._runner.forward(chunks)[:, : self._vocab_size]
            likeliest = iter(logits_BV.argmax(dim=-1).tolist())
            following = []
            for chunk in chunks:
                self._held[chunk.slot] += chunk.ids
                if chunk.asked:
                    guesses[chunk.slot].append(id := next(likeliest))
                    if len(guesses[chunk.slot]) < most[chunk.slot]:
                        following.append(Chunk(chunk.slot, [id]))
            chunks = following
        return [guesses[one.slot] for one in wanted]

    def another(self, slots: int) -> "DraftModel":
        """As `Proposer`."""
        draft = copy(self)
        draft._runner, draft._held = self._runner.another(slots), {}
        return draft

    def _catch_up(self, one: Wanted) -> Chunk:
        """What the draft model has not read of a text, after forgetting what it holds of another or of wrong guesses."""
        held = self._held.get(one.slot, [])
        known = common_length(held, one.ids, min(len(held), len(one.ids) - 1))
        if known < self._runner.length(one.slot):
            self._runner.truncate(one.slot, known)
        self._held[one.slot] = held[:known]
        ids = list(one.ids[known : known + READ])
        return Chunk(one.slot, ids, "last" if known + len(ids) == len(one.ids) else "none")


def _other_tokens() -> ConfigError:
    return ConfigError(
        Text("The draft model has other tokens than the model.", "草稿模型与该模型的词元不同。"),
        Text("Use a smaller model of the same family.", "请使用同一系列中较小的模型。"),
    )
