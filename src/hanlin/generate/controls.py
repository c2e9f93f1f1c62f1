"""What a request changes in its logits before the next token is taken, kept up with its text as that grows.

N banned tokens, V vocabulary.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor

from hanlin.base.errors import RequestError
from hanlin.base.language import Text
from hanlin.generate.bans import ForbiddenTexts, RepeatedNgrams
from hanlin.generate.constraint import Constraint
from hanlin.generate.parameters import CONSTRAINTS, SamplingParameters
from hanlin.generate.penalties import Occurrences, add_biases, penalise_occurrences, penalise_repetition
from hanlin.tokenizer.tokenizer import Tokenizer


class Controls:
    """Penalties, biases, bans and the constraint of one request.

    They depend on its tokens alone, and follow them by themselves. For one thread at a time.
    """

    def __init__(
        self, parameters: SamplingParameters, prompt_ids: Sequence[int], tokenizer: Tokenizer
    ) -> None:
        """Raises `RequestError` for what this tokenizer cannot do, and as `Constraint.of`."""
        self._parameters = parameters
        self._followed = 0
        self._ends = {id for id in (*tokenizer.stop_ids, *parameters.stop_ids) if id < tokenizer.vocab_size}
        self._biases = _token_biases(parameters, tokenizer)
        self._seen = Occurrences()
        self._written = Occurrences()
        self._ngrams = RepeatedNgrams(parameters.no_repeat_ngram) if parameters.no_repeat_ngram else None
        self._texts = ForbiddenTexts(parameters.bad_words, tokenizer) if parameters.bad_words else None
        self._constraint = Constraint.of(parameters, tokenizer)
        counts = parameters.frequency_penalty or parameters.presence_penalty
        everything = [self._seen if parameters.repetition_penalty != 1 else None, self._ngrams]
        only_text = [self._written if counts else None, self._texts, self._constraint]
        self._followers = [one for one in (*everything, *only_text) if one is not None]
        for follower in everything:
            if follower is not None:
                follower.add(prompt_ids)

    @classmethod
    def of(
        cls, parameters: SamplingParameters, prompt_ids: Sequence[int], tokenizer: Tokenizer
    ) -> "Controls | None":
        """Those of a request, None if it has none; raises as the constructor, and `RequestError` for end tokens that
        are none."""
        for id in parameters.stop_ids:
            if not 0 <= id < tokenizer.vocab_size:
                raise _no_id("stop_ids", id, tokenizer.vocab_size)
        wanted = any(getattr(parameters, name) != getattr(_PLAIN, name) for name in _CONTROLS)
        return cls(parameters, prompt_ids, tokenizer) if wanted else None

    def apply(self, logits_V: Tensor, token_ids: Sequence[int]) -> None:
        """Change the logits after `token_ids`, the whole text so far.

        Repetition penalty, frequency and presence penalties, biases, the constraint, bans. Where bans leave no token,
        they give way for this one.
        """
        self._follow(token_ids)
        ask = self._parameters
        if ask.repetition_penalty != 1:
            penalise_repetition(logits_V, self._seen.ids_N, ask.repetition_penalty)
        if ask.frequency_penalty or ask.presence_penalty:
            ids_N, counts_N = self._written.ids_N, self._written.counts_N
            penalise_occurrences(logits_V, ids_N, counts_N, ask.frequency_penalty, ask.presence_penalty)
        if self._biases:
            add_biases(logits_V, self._biases)
        if self._constraint is not None:
            self._constraint.apply(logits_V)
        _ban(logits_V, self._banned(len(token_ids)))

    def ended(self, token_ids: Sequence[int]) -> Literal["stop", "length"] | None:
        """Whether the constraint ends the text here: complete, or too complex to go on."""
        if self._constraint is None:
            return None
        self._follow(token_ids)
        return _ENDS[self._constraint.ended]

    def _follow(self, token_ids: Sequence[int]) -> None:
        new = token_ids[self._followed :]
        self._followed = len(token_ids)
        for follower in self._followers:
            follower.add(new)

    def _banned(self, length: int) -> Tensor:
        """The ids that may not come next: (N,) int64."""
        few: list[int] = []
        if length < self._parameters.min_new_tokens:
            few += self._ends
        if self._ngrams is not None:
            few += self._ngrams.banned()
        if self._texts is None:
            return torch.tensor(few, dtype=torch.int64)
        few += self._texts.banned()
        return torch.cat((self._texts.always_N, torch.tensor(few, dtype=torch.int64)))


_CONTROLS = (
    "repetition_penalty",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "no_repeat_ngram",
    "bad_words",
    "min_new_tokens",
    *CONSTRAINTS,
)
_PLAIN = SamplingParameters()

_ENDS: Mapping[str | None, Literal["stop", "length"] | None] = MappingProxyType(
    {None: None, "complete": "stop", "given up": "length"}
)


def _ban(logits_V: Tensor, ids_N: Tensor) -> None:
    if not len(ids_N):
        return
    ids_N = ids_N.to(logits_V.device)
    before_N = logits_V[ids_N]
    logits_V[ids_N] = -torch.inf
    if bool(logits_V.amax() == -torch.inf):
        logits_V[ids_N] = before_N


def _token_biases(parameters: SamplingParameters, tokenizer: Tokenizer) -> dict[int, float]:
    biases = {}
    for token, bias in parameters.logit_bias.items():
        ids = [token] if isinstance(token, int) else tokenizer.encode(token)
        if len(ids) != 1 or not 0 <= ids[0] < tokenizer.vocab_size:
            raise _no_token(token, ids, tokenizer.vocab_size)
        biases[ids[0]] = bias
    return biases


def _no_token(token: int | str, ids: Sequence[int], size: int) -> RequestError:
    if isinstance(token, int):
        return _no_id("logit_bias", token, size)
    return RequestError(
        Text(
            f"logit_bias: {token!r} is {len(ids)} tokens ({', '.join(map(str, ids))}), not one.",
            f"logit_bias：{token!r} 是 {len(ids)} 个词元（{', '.join(map(str, ids))}），不是一个。",
        ),
        Text("Give the bias to single tokens, by id.", "请按编号为单个词元设置偏置。"),
    )


def _no_id(name: str, id: int, size: int) -> RequestError:
    return RequestError(
        Text(
            f"{name} names the token {id}; ids go from 0 to {size - 1}.",
            f"{name} 中的词元编号 {id} 不存在；编号范围为 0 到 {size - 1}。",
        ),
        Text("Use ids of this model's tokenizer.", "请使用该模型分词器的编号。"),
    )
