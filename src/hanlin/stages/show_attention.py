"""`hanlin show attention`: what one head looks at in a text, in the four steps of the formula."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from hanlin.base.device import choose_compute
from hanlin.base.errors import CheckpointError, RequestError
from hanlin.base.language import Text
from hanlin.base.progress import page
from hanlin.checkpoint.folder import open_model
from hanlin.model.encoder import Encoder
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
    """Read `text`, as the model reads texts, and trace one head of one block, both counted from 0.

    Raises `CheckpointError` for what cannot be opened, `RequestError` for an empty or over-long text and for a block
    or head that is not there.
    """
    opened, tokenizer, _ = open_model(model, choose_compute("cpu"))
    if isinstance(opened, Seq2Seq):
        raise CheckpointError(
            Text(f"{model} is an encoder-decoder.", f"{model} 是编码器—解码器。"),
            Text("Give a decoder or an encoder.", "请给出解码器或编码器模型。"),
        )
    ids = tokenizer.encode_single(text).ids if isinstance(opened, Encoder) else tokenizer.encode_prompt(text)
    if not ids:
        raise RequestError(
            Text("The text is empty.", "文本是空的。"),
            Text("Give at least one word.", "请至少给出一个词。"),
        )
    with torch.no_grad():
        trace = trace_attention(opened, torch.tensor([ids]), layer, head)
    return ShownAttention([tokenizer.decode([id]) or f"[{id}]" for id in ids], layer, head, trace)


def attention_values(shown: ShownAttention) -> dict[str, Any]:
    """The four steps as plain lists."""
    tensors = {name: value.tolist() for name, value in vars(shown.trace).items()}
    return {"tokens": shown.tokens, "layer": shown.layer, "head": shown.head, **tensors}


def print_attention(shown: ShownAttention) -> None:
    """The four steps as a page on standard output."""
    out, trace = page(), shown.trace
    out.print(
        str(Text(f"block {shown.layer}, head {shown.head}", f"第 {shown.layer} 块，第 {shown.head} 头"))
    )
    vectors = ("embedded_TC", "q_TD", "k_TD", "v_TD")
    out.print(_title("1. embed; q = x W_Q, k = x W_K, v = x W_V", "1. 嵌入；q = x W_Q，k = x W_K，v = x W_V"))
    out.print(_table(shown, ("x", "q", "k", "v"), [[_vector(getattr(trace, name)[t]) for name in vectors]
                                                    for t in range(len(shown.tokens))]))  # fmt: skip
    out.print(_title("2. score = scale · q kᵀ + bias", "2. 打分 = 缩放 · q kᵀ + 偏置"))
    out.print(
        _table(shown, shown.tokens, [[_score(value) for value in row] for row in trace.scores_TT.tolist()])
    )
    out.print(_title("3. weigh = softmax of each row", "3. 权重 = 逐行 softmax"))
    out.print(
        _table(shown, shown.tokens, [[f"{value:.2f}" for value in row] for row in trace.weights_TT.tolist()])
    )
    out.print(_title("4. mix = weights · v", "4. 输出 = 权重 · v"))
    out.print(_table(shown, ("out",), [[_vector(trace.mixed_TD[t])] for t in range(len(shown.tokens))]))


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
