"""Contrastive search: a token that is likely, and whose state is unlike the states before it.

K candidates, T tokens so far, C width, V vocabulary.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, ValidationError
from torch import Tensor

from hanlin.base.config import Settings
from hanlin.base.device import Compute
from hanlin.base.errors import RequestError
from hanlin.base.language import Text
from hanlin.generate.parameter_errors import describe
from hanlin.generate.refusals import empty_prompt, no_room, outside
from hanlin.generate.sampling import not_finite
from hanlin.model.cache import KeyValueCache
from hanlin.model.decoder import Decoder
from hanlin.tokenizer.tokenizer import Tokenizer


class ContrastiveConfig(Settings):
    """How the next token is chosen. Source: arXiv 2202.06417, eq. 5."""

    candidates: int = Field(4, ge=1, le=1024)
    """k: so many likeliest tokens are weighed."""
    degeneration: float = Field(0.6, ge=0, le=1)
    """alpha: what the likeness to what stands before counts against the probability; 0 takes the likeliest token."""


@dataclass(frozen=True)
class ContrastiveText:
    """A continuation, without the prompt and the token that ended it.

    log_probabilities: of each token, the end included, in nats, by the model's own distribution.
    """

    text: str
    token_ids: tuple[int, ...]
    log_probabilities: tuple[float, ...]
    finish_reason: Literal["stop", "length"]

    @property
    def log_probability(self) -> float:
        """Of all tokens, in nats."""
        return sum(self.log_probabilities)


def contrastive_text(
    model: Decoder,
    tokenizer: Tokenizer,
    compute: Compute,
    prompt_ids: Sequence[int],
    *,
    max_new_tokens: int,
    candidates: int = 4,
    degeneration: float = 0.6,
) -> ContrastiveText:
    """The continuation of a prompt; arguments as `ContrastiveConfig`.

    It ends with a stop token, after `max_new_tokens`, or where the window is full. Raises `RequestError` for an argument
    out of range and for a prompt that is empty, holds ids outside the vocabulary or fills the window.
    """
    try:
        config = ContrastiveConfig(candidates=candidates, degeneration=degeneration)
    except ValidationError as error:
        wrong = describe(error.errors()[0], ContrastiveConfig)
        raise RequestError(wrong, Text("Change the setting above.", "请修改以上设置。")) from error
    if not prompt_ids:
        raise empty_prompt()
    if len(prompt_ids) >= model.config.window:
        raise no_room(len(prompt_ids), model.config.window)
    if not all(0 <= id < tokenizer.vocab_size for id in prompt_ids):
        raise outside(tokenizer.vocab_size)
    most = min(max_new_tokens, model.config.window - len(prompt_ids))
    ids, log_p = contrastive_search(
        model,
        compute,
        prompt_ids,
        config,
        ends=tokenizer.stop_ids,
        most=most,
        vocab_size=tokenizer.vocab_size,
    )
    ended = ids[-1] in tokenizer.stop_ids
    kept = ids[:-1] if ended else ids
    return ContrastiveText(tokenizer.decode(kept), tuple(kept), tuple(log_p), "stop" if ended else "length")


@torch.inference_mode()
def contrastive_search(
    model: Decoder,
    compute: Compute,
    prompt_ids: Sequence[int],
    config: ContrastiveConfig,
    *,
    ends: Collection[int],
    most: int,
    vocab_size: int,
) -> tuple[list[int], list[float]]:
    """Up to `most` tokens, an end included, and their log-probabilities.

    x_t = argmax over the k likeliest v of (1 - alpha) P(v | x_<t) - alpha max_j cos(h_v, h_j), where h_j are the last hidden
    states of the tokens before, the prompt's too. Source: Su et al. 2022, arXiv 2202.06417, eq. 5.
    """
    alpha, count = config.degeneration, min(config.candidates, vocab_size)
    ids, log_ps = list[int](), list[float]()
    last_V, seen_TC, cache = _read(model, compute, prompt_ids, count, most)
    while True:
        if not bool(last_V.amax().isfinite()):
            raise not_finite()
        log_p_V = last_V[:vocab_size].log_softmax(0)
        log_p_K, ids_K = log_p_V.topk(count)
        with compute.autocast():
            hidden_KC = model.hidden(ids_K.unsqueeze(1), cache=cache)[:, -1]
        unit_KC = F.normalize(hidden_KC.float(), dim=1)
        alike_K = (unit_KC @ seen_TC[: len(prompt_ids) + len(ids)].T).amax(1)
        best = int(((1 - alpha) * log_p_K.exp() - alpha * alike_K).argmax())
        ids.append(int(ids_K[best]))
        log_ps.append(float(log_p_K[best]))
        if ids[-1] in ends or len(ids) == most:
            return ids, log_ps
        seen_TC[len(prompt_ids) + len(ids) - 1] = unit_KC[best]
        _follow(cache, best)
        with compute.autocast():
            last_V = model.logits(hidden_KC[best])


def _read(
    model: Decoder, compute: Compute, prompt_ids: Sequence[int], count: int, most: int
) -> tuple[Tensor, Tensor, KeyValueCache]:
    """Logits after the prompt, (V,); room for states of length one, those of the prompt filled in; a cache of K rows."""
    prompt_1T = torch.tensor([list(prompt_ids)], device=compute.device)
    one = KeyValueCache(model.config, 1, len(prompt_ids), compute.device, compute.precision)
    with compute.autocast():
        hidden_TC = model.hidden(prompt_1T, cache=one)[0]
        last_V = model.logits(hidden_TC[-1])
    seen_TC = torch.empty(len(prompt_ids) + most, hidden_TC.shape[1], device=compute.device)
    seen_TC[: len(prompt_ids)] = F.normalize(hidden_TC.float(), dim=1)
    rows_K = torch.zeros(count, dtype=torch.long, device=compute.device)
    return last_V, seen_TC, one.chosen(rows_K).lengthened(len(prompt_ids) + most)


def _follow(cache: KeyValueCache, row: int) -> None:
    """Let every row go on as `row` does; they hold the same but for the last token."""
    last = int(cache.lengths_B[0]) - 1
    for part in (cache.keys_LBGSD, cache.values_LBGSD):
        part[:, :, :, last] = part[:, row : row + 1, :, last].clone()
