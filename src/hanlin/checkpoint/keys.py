"""Two-way key tables: our parameter names against a family's, with nothing left over on either side."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hanlin.base.errors import CheckpointError
from hanlin.base.language import Text

Layout = Literal["same", "transposed"]


@dataclass(frozen=True)
class Entry:
    """One tensor of the family and the tensors of ours that it holds, in order along its output axis.

    layout "same": stored as we have it; "transposed": stored (input, output), as GPT-2 stores linear layers.
    """

    theirs: str
    ours: tuple[str, ...]
    layout: Layout = "same"

    def join(self, tensors: Sequence[Tensor]) -> Tensor:
        """Our tensors as the family stores them."""
        whole = tensors[0] if len(tensors) == 1 else torch.cat(list(tensors))
        return whole.t().contiguous() if self.layout == "transposed" else whole.contiguous()

    def divide(self, tensor: Tensor, shapes: Sequence[torch.Size]) -> list[Tensor]:
        """The family's tensor as ours; the caller has checked the whole shape."""
        whole = tensor.t() if self.layout == "transposed" else tensor
        return list(torch.split(whole, [shape[0] for shape in shapes]))

    def shape(self, shapes: Sequence[torch.Size]) -> tuple[int, ...]:
        """The shape that the family's tensor must have."""
        whole = (sum(shape[0] for shape in shapes), *shapes[0][1:])
        return whole[::-1] if self.layout == "transposed" else whole


def to_family(tensors: Mapping[str, Tensor], table: Iterable[Entry]) -> dict[str, Tensor]:
    """Our tensors under the family's names; every one must be in the table."""
    table = list(table)
    named = {ours for entry in table for ours in entry.ours}
    assert named == tensors.keys(), f"table and model differ: {sorted(named ^ tensors.keys())}"
    return {entry.theirs: entry.join([tensors[ours] for ours in entry.ours]) for entry in table}


def check_names(found: Iterable[str], table: Iterable[Entry], where: str) -> None:
    """Raise `CheckpointError` unless the file holds exactly the table's tensors; name the nearest to each."""
    found_set, expected = set(found), {entry.theirs for entry in table}
    unknown, missing = sorted(found_set - expected), sorted(expected - found_set)
    if not unknown and not missing:
        return
    lines_en, lines_zh = [], []
    for names, pool, en, zh in ((unknown, missing, "unknown", "未知"), (missing, unknown, "missing", "缺少")):
        for name in names[:8]:
            near = difflib.get_close_matches(name, pool or expected, n=1)
            lines_en.append(f"  {en}: {name}" + (f" (nearest: {near[0]})" if near else ""))
            lines_zh.append(f"  {zh}：{name}" + (f"（最接近：{near[0]}）" if near else ""))
        if len(names) > 8:
            lines_en.append(f"  {en}: and {len(names) - 8} more")
            lines_zh.append(f"  {zh}：另有 {len(names) - 8} 个")
    raise CheckpointError(
        Text(
            "\n".join([f"The weights in {where} do not fit config.json:", *lines_en]),
            "\n".join([f"{where} 中的权重与 config.json 不符：", *lines_zh]),
        ),
        Text("Use the config.json that belongs to these weights.", "请使用与这些权重配套的 config.json。"),
    )


def check_shape(entry: Entry, found: Sequence[int], shapes: Sequence[torch.Size], where: str) -> None:
    """Raise `CheckpointError` unless a tensor has the shape that the model needs."""
    expected = entry.shape(shapes)
    if tuple(found) != expected:
        raise CheckpointError(
            Text(
                f"{where}: {entry.theirs} has shape {tuple(found)}; config.json asks for {expected}.",
                f"{where}：{entry.theirs} 的形状是 {tuple(found)}，而 config.json 要求 {expected}。",
            ),
            Text(
                "Use the config.json that belongs to these weights.", "请使用与这些权重配套的 config.json。"
            ),
        )
