"""What may stand in the places of masks: each by itself, or all together.

T time, M masks of a text, R ways to fill it, V vocabulary. Source: BERT, arXiv 1810.04805, section 3.1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hanlin.base.device import Compute
from hanlin.base.errors import RequestError
from hanlin.base.language import Text
from hanlin.model.headed import Headed
from hanlin.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class Guess:
    """What may stand in the place of a mask."""

    text: str
    id: int
    probability: float


@dataclass(frozen=True)
class Filling:
    """What may stand in the places of all masks together, and the whole text with it.

    Each guess has its probability after those to the left of it; `probability` is their product.
    """

    text: str
    guesses: tuple[Guess, ...]
    probability: float


class MaskFilling:
    """A masked language model that fills the masks of texts."""

    def __init__(self, name: str, model: Headed, tokenizer: Tokenizer, compute: Compute) -> None:
        """Raises `RequestError` for a model without a masked head, or a tokenizer without a mask token."""
        if model.config.head not in ("masked", "pretraining") or tokenizer.mask_id is None:
            raise _no_masked_head(name)
        self._model, self._tokenizer, self._compute = model, tokenizer, compute
        self._mask_id = tokenizer.mask_id

    def each(self, text: str, k: int) -> list[list[Guess]]:
        """The k likeliest tokens in the place of each mask, whatever the others are, likeliest first: M lists.

        Raises `RequestError` for a text without a mask, one that does not fit the window, and k below 1.
        """
        _check("k", k)
        ids = self._with_masks(text)
        log_p_MV = self._log_probabilities([ids], self._places(ids))
        best_Mk, ids_Mk = log_p_MV.topk(min(k, log_p_MV.shape[1]))
        return [
            [self._guess(id, p) for p, id in zip(*row, strict=True)]
            for row in zip(best_Mk.exp().tolist(), ids_Mk.tolist(), strict=True)
        ]

    def together(self, text: str, k: int, beams: int) -> list[Filling]:
        """The k likeliest ways to fill all masks, filled from left to right by beam search, likeliest first.

        log P(x_1 .. x_M) = sum_m log P(x_m | x_<m and the masks after m). Raises as `each`.
        """
        _check("k", k)
        _check("beams", beams)
        ids = self._with_masks(text)
        rows: list[tuple[list[int], list[tuple[int, float]]]] = [(ids, [])]
        total_R1 = torch.zeros(1, 1)
        for place in self._places(ids):
            log_p_RV = self._log_probabilities([row for row, _ in rows], [place]).cpu()
            total_RV, V = total_R1 + log_p_RV, log_p_RV.shape[1]
            best = total_RV.flatten().topk(min(max(beams, k), total_RV.numel()))
            chosen = [divmod(index, V) for index in best.indices.tolist()]
            rows = [
                ([*rows[r][0][:place], id, *rows[r][0][place + 1 :]], [*rows[r][1], (id, float(log_p_RV[r, id].exp()))])
                for r, id in chosen
            ]  # fmt: skip
            total_R1 = best.values.unsqueeze(1)
        return [
            Filling(
                self._tokenizer.decode(row),
                tuple(self._guess(*one) for one in guessed),
                float(total_1.exp()),
            )
            for (row, guessed), total_1 in zip(rows[:k], total_R1[:k], strict=True)
        ]

    def _places(self, ids: Sequence[int]) -> list[int]:
        return [place for place, id in enumerate(ids) if id == self._mask_id]

    @torch.inference_mode()
    def _log_probabilities(self, rows: Sequence[Sequence[int]], places: Sequence[int]) -> Tensor:
        """Of every token at some places of equally long rows, one row after another: (R x places, V), float32."""
        with self._compute.autocast():
            hidden_RTC = self._model.hidden(torch.tensor(rows, device=self._compute.device))
            logits_NV = self._model.logits(hidden_RTC[:, list(places)].flatten(0, 1))
        return logits_NV.float().log_softmax(-1)

    def _guess(self, id: int, probability: float) -> Guess:
        return Guess(self._tokenizer.decode([id], skip_special=False), id, probability)

    def _with_masks(self, text: str) -> list[int]:
        """The framed ids of a text in which the name of the mask token stands for itself, and for the blank before it."""
        mask = self._tokenizer.special_text(self._mask_id)
        first, *others = text.split(mask)
        if not others:
            raise _no_mask(mask)
        *inner, last = others
        ids = self._tokenizer.encode(first.rstrip())
        for part in (*(part.rstrip() for part in inner), last):
            ids += [self._mask_id, *self._tokenizer.encode_inside(part, after_special=True)]
        frame = self._tokenizer.encode_single("a")
        start, stop = frame.special_mask.index(0), len(frame.ids) - frame.special_mask[::-1].index(0)
        return [*frame.ids[:start], *ids, *frame.ids[stop:]]


def _check(name: str, value: int) -> None:
    if value < 1:
        raise RequestError(
            Text(f"{name} = {value} must be 1 or more.", f"{name} = {value} 应不小于 1。"),
            Text("Ask for at least one.", "请至少要求一个。"),
        )


def _no_masked_head(name: str) -> RequestError:
    return RequestError(
        Text(
            f"{name} was not made to fill masks: it has no masked language model head.",
            f"{name} 不能填充掩码：它没有掩码语言模型头。",
        ),
        Text("Use a masked language model, such as BERT.", "请使用掩码语言模型，例如 BERT。"),
    )


def _no_mask(mask: str) -> RequestError:
    return RequestError(
        Text(f"The text holds no {mask}.", f"文本中没有 {mask}。"),
        Text(f"Write {mask} where a token is to be guessed.", f"请在要猜测的位置写上 {mask}。"),
    )
