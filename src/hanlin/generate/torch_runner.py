"""The runner on PyTorch: any decoder, any device.

N asked tokens, V vocabulary, C width.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from hanlin.base.device import Compute
from hanlin.base.language import Text
from hanlin.base.progress import console
from hanlin.generate.runner import Chunk
from hanlin.model.adapters.adapters import Adapters
from hanlin.model.compiled import compiled_steps
from hanlin.model.decoder import Decoder
from hanlin.model.flat import Steps, flat_hidden
from hanlin.model.text_cache import TextCache


class TorchRunner:
    """A decoder with a cache for each slot, which takes memory as its text grows and gives it back.

    The new tokens of all slots are one pass, or one for each adapter.
    """

    name = "torch"

    def __init__(
        self,
        model: Decoder,
        compute: Compute,
        slots: int = 8,
        window: int | None = None,
        adapters: Adapters | None = None,
        cache_dtype: torch.dtype | None = None,
        compiled: bool = False,
    ) -> None:
        """cache_dtype: of keys and values (default: that in which products are computed).

        compiled: whether steps of one token are compiled, here: seconds the first time, up to twenty, that a few hundred
        tokens make up for. Without a compiler, which is told, and with adapters, they are as ever.
        """
        self.model = model.to(compute.device).eval()
        self.compute = compute
        self.slots = slots
        self.adapters = adapters
        self.window = min(window or model.config.window, model.config.window)
        self.dtype = cache_dtype or compute.precision
        self._texts = [TextCache(model.config, compute.device, self.dtype, self.window) for _ in range(slots)]
        self._steps = self._compiled() if compiled and adapters is None else Steps()

    @property
    def vocab_size(self) -> int:
        """As `Runner`."""
        return self.model.config.vocab_size

    @property
    def bytes_per_token(self) -> int:
        """As `Runner`."""
        config = self.model.config
        return 2 * config.cached_layers * config.kv_heads * config.head_size * self.dtype.itemsize

    @property
    def cache_bytes(self) -> int:
        """Memory that all slots take now."""
        return sum(text.nbytes for text in self._texts)

    @property
    def device(self) -> torch.device:
        """As `Runner`."""
        return self.compute.device

    @torch.inference_mode()
    def forward(self, chunks: Sequence[Chunk]) -> Tensor:
        """As `Runner`."""
        parts: dict[int, Tensor] = {}
        for name in dict.fromkeys(chunk.adapter for chunk in chunks):
            group = [chunk for chunk in chunks if chunk.adapter == name]
            through = nullcontext() if self.adapters is None else self.adapters.rows([name])
            with self.compute.autocast(), through:  # an adapter may change the head, too
                logits_NV = self._logits(group)
            if len(group) == len(chunks):
                return logits_NV
            split = torch.split(logits_NV, [chunk.asked for chunk in group])
            parts |= {chunk.slot: part for chunk, part in zip(group, split, strict=True)}
        return torch.cat([parts[chunk.slot] for chunk in chunks])

    def _logits(self, group: Sequence[Chunk]) -> Tensor:
        """Of chunks of one adapter, in their order: (N, V)."""
        counts = [len(chunk.ids) for chunk in group]
        tokens_N = torch.tensor([id for chunk in group for id in chunk.ids], device=self.device)
        texts = [self._texts[chunk.slot] for chunk in group]
        hidden_NC = flat_hidden(self.model, tokens_N, texts, counts, self._steps)
        states = [
            hidden_TC[len(chunk.ids) - chunk.asked :]
            for chunk, hidden_TC in zip(group, torch.split(hidden_NC, counts), strict=True)
        ]
        return self._steps.logits(self.model, torch.cat(states))

    def _compiled(self) -> Steps:
        """Compiled steps that have worked once; else the plain ones."""
        try:
            steps = compiled_steps()
            with torch.inference_mode(), self.compute.autocast():
                text = TextCache(self.model.config, self.device, self.dtype, 1)
                hidden_1C = flat_hidden(self.model, torch.tensor([0], device=self.device), [text], [1], steps)
                steps.logits(self.model, hidden_1C)
        except Exception as reason:  # whatever a compiler that is missing or broken raises
            console.print(str(_not_compiled(reason)))
            return Steps()
        return steps

    def another(self, slots: int) -> "TorchRunner":
        """As `Runner`."""
        other = TorchRunner(self.model, self.compute, slots, self.window, self.adapters, self.dtype)
        other._steps = self._steps
        return other

    def quiet(self) -> AbstractContextManager[None]:
        """As `Runner`: there are no threads but torch's own."""
        return nullcontext()

    def length(self, slot: int) -> int:
        """As `Runner`."""
        return self._texts[slot].length

    def truncate(self, slot: int, length: int) -> None:
        """As `Runner`."""
        self._texts[slot].truncate(length)

    @torch.inference_mode()
    def copy(self, source: int, target: int, length: int) -> None:
        """As `Runner`."""
        self._texts[target].copy(self._texts[source], length)


def _not_compiled(reason: Exception) -> Text:
    first = (str(reason).splitlines() or [type(reason).__name__])[0]
    return Text(f"Steps are not compiled, and slower for it: {first}", f"未能编译，生成速度会较慢：{first}")
