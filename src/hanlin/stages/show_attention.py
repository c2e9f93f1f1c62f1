"""`hanlin show attention`: what one head looks at in a text, in the four steps of the formula."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from hanlin.base.device import choose_compute
from hanlin.base.errors import CheckpointError
from hanlin.base.language import Text
from hanlin.checkpoint.folder import open_model
from hanlin.model.seq2seq import Seq2Seq
from hanlin.model.trace import AttentionTrace, trace_attention

FIRST = 4
"""How many numbers of a vector are shown."""


@dataclass(frozen=True)
class ShownAttention:
    """A trace with the tokens that it is about."""

    tokens: list[str]
    layer: int
    head: int
    trace: AttentionTrace


def attention_of(model: Path, text: str, layer: int, head: int) -> ShownAttention:
    """Read `text` and trace one head, both counted from 0. Raises `CheckpointError`, `RequestError`."""
    opened, tokenizer, _ = open_model(model, choose_compute("cpu"))
    if isinstance(opened, Seq2Seq):
        raise CheckpointError(
            Text(f"{model} is an encoder-decoder.", f"{model} 是编码器—解码器。"),
            Text("Give a decoder or an encoder.", "请给出解码器或编码器模型。"),
        )
    ids = tokenizer.encode_prompt(text)
    with torch.no_grad():
        trace = trace_attention(opened, torch.tensor([ids]), layer, head)
    return ShownAttention([tokenizer.decode([id]) or f"[{id}]" for id in ids], layer, head, trace)


def attention_values(shown: ShownAttention) -> dict[str, Any]:
    """The four steps as plain lists."""
    tensors = {name: value.tolist() for name, value in vars(shown.trace).items()}
    return {"tokens": shown.tokens, "layer": shown.layer, "head": shown.head, **tensors}


def print_attention(shown: ShownAttention) -> None:
    """The four steps as a page on standard output."""
    page, trace = Console(soft_wrap=True, highlight=False), shown.trace
    page.print(
        str(Text(f"block {shown.layer}, head {shown.head}", f"第 {shown.layer} 块，第 {shown.head} 头"))
    )
    vectors = ("embedded_TC", "q_TD", "k_TD", "v_TD")
    page.print(
        _title("1. embed; q = x W_Q, k = x W_K, v = x W_V", "1. 嵌入；q = x W_Q，k = x W_K，v = x W_V")
    )
    page.print(_table(shown, ("x", "q", "k", "v"), [[_vector(getattr(trace, name)[t]) for name in vectors]
                                                    for t in range(len(shown.tokens))]))  # fmt: skip
    page.print(_title("2. score = scale · q kᵀ + bias", "2. 打分 = 缩放 · q kᵀ + 偏置"))
    page.print(
        _table(shown, shown.tokens, [[_score(value) for value in row] for row in trace.scores_TT.tolist()])
    )
    page.print(_title("3. weigh = softmax of each row", "3. 权重 = 逐行 softmax"))
    page.print(
        _table(shown, shown.tokens, [[f"{value:.2f}" for value in row] for row in trace.weights_TT.tolist()])
    )
    page.print(_title("4. mix = weights · v", "4. 输出 = 权重 · v"))
    page.print(_table(shown, ("out",), [[_vector(trace.mixed_TD[t])] for t in range(len(shown.tokens))]))


def _title(en: str, zh: str) -> str:
    return f"\n{Text(en, zh)}"


def _table(shown: ShownAttention, columns: tuple[str, ...] | list[str], rows: list[list[str]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("", *columns):
        table.add_column(repr(title)[1:-1] if title else "", no_wrap=True)
    for token, cells in zip(shown.tokens, rows, strict=True):
        table.add_row(repr(token)[1:-1], *cells)
    return table


def _vector(values: torch.Tensor) -> str:
    dots = " …" if len(values) > FIRST else ""
    return " ".join(f"{value:+.2f}" for value in values[:FIRST].tolist()) + dots


def _score(value: float) -> str:
    return "·" if value == -torch.inf else f"{value:+.2f}"
