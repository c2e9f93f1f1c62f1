"""Two-way key tables: our parameter names against a family's, with nothing left over on either side."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hanlin.base.errors import CheckpointError
from hanlin.base.language import Text
from hanlin.model.assemble import build_outline
from hanlin.model.config import CoreConfig

Layout = Literal["same", "transposed", "row", "copy"]


@dataclass(frozen=True)
class Entry:
    """One tensor of the family and the tensors of ours that it holds, in order along its output axis.

    layout "same": stored as we have it; "transposed": stored (input, output), as GPT-2 stores linear layers; "row":
    a vector stored (1, size), as BART stores the bias of its head; "copy": what another entry holds, once more.
    """

    theirs: str
    ours: tuple[str, ...]
    layout: Layout = "same"

    def join(self, tensors: Sequence[Tensor]) -> Tensor:
        """Our tensors as the family stores them."""
        whole = tensors[0] if len(tensors) == 1 else torch.cat(list(tensors))
        if self.layout == "row":
            whole = whole.unsqueeze(0)
        if self.layout == "copy":
            return whole.clone()  # files hold no tensors that share memory
        return whole.t().contiguous() if self.layout == "transposed" else whole.contiguous()

    def divide(self, tensor: Tensor, shapes: Sequence[torch.Size]) -> list[Tensor]:
        """The family's tensor as ours; the caller has checked the whole shape."""
        whole = tensor.t() if self.layout == "transposed" else tensor
        if self.layout == "row":
            whole = whole.squeeze(0)
        return list(torch.split(whole, [shape[0] for shape in shapes]))

    def shape(self, shapes: Sequence[torch.Size]) -> tuple[int, ...]:
        """The shape that the family's tensor must have."""
        whole = (sum(shape[0] for shape in shapes), *shapes[0][1:])
        if self.layout == "row":
            return (1, *whole)
        return whole[::-1] if self.layout == "transposed" else whole


def entries(
    config: CoreConfig, names: Mapping[str, str], transposed: tuple[str, ...] = ()
) -> Iterator[Entry]:
    """Every tensor of a model, under the name that a family gives to the module which holds it.

    names: our module -> theirs, with `*` for each number; modules of one name are stored as one tensor, in order.
    transposed: endings of tensors that are stored (input, output).
    Raises `LookupError` for a module that the family does not have.
    """
    held: dict[str, list[str]] = {}
    for ours, _ in build_outline(config).named_parameters():
        module, part = ours.rsplit(".", 1)
        theirs = names[re.sub(r"\d+", "*", module)]
        for number in re.findall(r"\d+", module):
            theirs = theirs.replace("*", number, 1)
        held.setdefault(f"{theirs}.{part}", []).append(ours)
    for name, tensors in held.items():
        yield Entry(name, tuple(tensors), "transposed" if name.endswith(transposed) else "same")


def check_names(found: Iterable[str], table: Iterable[Entry], where: str) -> None:
    """Raise `CheckpointError` unless the file holds exactly the table's tensors; name the nearest to each."""
    found_set, expected = set(found), {entry.theirs for entry in table}
    unknown, missing = sorted(found_set - expected), sorted(expected - found_set)
    if not unknown and not missing:
        return
    lines_en, lines_zh = [], []
    for names, pool, en, zh in (
        (unknown, missing or sorted(expected), "unknown", "未知"),
        (missing, unknown, "missing", "缺少"),
    ):
        for name in names[:8]:
            near = difflib.get_close_matches(name, pool, n=1)
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
