"""Any number of adapters on one frozen base.

B rows, T time, C width, N virtual tokens.
"""

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import cast

import torch
from torch import Tensor, nn

from hanlin.base.errors import ConfigError, RequestError
from hanlin.base.language import Text
from hanlin.model.adapters.attach import adapt, adapted_layers, prefixes, reader, restore, token_table
from hanlin.model.adapters.config import AdapterConfig, LoraConfig, PrefixConfig, PromptConfig
from hanlin.model.adapters.lora import Change, LowRank, Whole
from hanlin.model.adapters.names import choose_layers, first_fitting
from hanlin.model.adapters.prefix import words_as_prefix
from hanlin.model.adapters.switch import Choice, Switch
from hanlin.model.assemble import Model
from hanlin.model.seq2seq import Seq2Seq


class Adapters:
    """The adapters of one model, by name.

    From here on the base is frozen: only adapters train. `add`, `remove` and `merge` change the model's modules,
    so that no pass may run meanwhile; `rows` is for each thread by itself. A pass outside `rows` goes through
    `active`, None being the base.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.configs: dict[str, AdapterConfig] = {}
        self.merged: str | None = None
        self._switch = Switch()
        self._own: dict[str, tuple[Tensor, Tensor | None]] = {}
        self._froze = [parameter for parameter in model.parameters() if parameter.requires_grad]
        for parameter in self._froze:
            parameter.requires_grad_(False)

    def add(self, name: str, config: AdapterConfig, words: Sequence[int] | None = None) -> None:
        """A new adapter, with initial values from torch's current random generator.

        LoRA begins as the identity. words: ids of a text that a prompt or prefix begins as; a prefix without
        words begins at random, a prompt as words drawn from the vocabulary.
        Raises `ConfigError` for a name that is taken or impossible, for layers that are not there, and for words
        as the prefix of an encoder-decoder.
        """
        self._check_new(name, config, words)
        low_rank = config if isinstance(config, LoraConfig) else None
        chosen = [] if low_rank is None else choose_layers(self.model, low_rank.layers, low_rank.blocks)
        if low_rank is not None:
            choose_layers(self.model, (*low_rank.ranks, *low_rank.alphas))
        whole = choose_layers(self.model, config.whole)
        ids = None if words is None else torch.tensor(words)
        if isinstance(config, PromptConfig):
            token_table(self.model).add(name, config.length, ids)
        if isinstance(config, PrefixConfig):
            self._add_prefix(name, config.length, ids)
        for key in dict.fromkeys((*chosen, *whole)):
            layer = adapt(self.model, key, self._switch)
            if key in whole:
                layer.changes[name] = Whole(layer)
            elif low_rank is not None:
                layer.changes[name] = LowRank(
                    layer,
                    first_fitting(low_rank.ranks, key, low_rank.rank),
                    first_fitting(low_rank.alphas, key, low_rank.alpha),
                    rslora=low_rank.rslora,
                    dora=low_rank.dora,
                    dropout=low_rank.dropout,
                )
        self.configs[name] = config

    def remove(self, name: str) -> None:
        """Forget an adapter. Raises `RequestError` for one that is not there."""
        self.check(name)
        assert self.merged is None, "unmerge first"
        for layer in adapted_layers(self.model).values():
            if name in layer.changes:
                del layer.changes[name]
        if isinstance(self.configs[name], PromptConfig):
            token_table(self.model).remove(name)
        if isinstance(self.configs[name], PrefixConfig):
            del prefixes(self.model, self._switch).tables[name]
        del self.configs[name]
        if self.active == name:
            self.active = None

    @property
    def active(self) -> str | None:
        """The adapter of passes outside `rows`, in every thread."""
        return self._switch.active

    @active.setter
    def active(self, name: str | None) -> None:
        if name is not None:
            self.check(name)
        self._switch.active = name

    def rows(self, names: Sequence[str | None]) -> AbstractContextManager[None]:
        """Inside, this thread's passes have len(names) rows, and row b goes through the adapter `names[b]`.

        Raises `RequestError` for an adapter that is not there.
        """
        for name in set(names) - {None}:
            self.check(cast(str, name))
        assert self.merged is None, "a merged base is no base for other adapters"
        return self._switch.choosing(Choice.of(names))

    def prompt_ids(self, name: str | None) -> list[int]:
        """The virtual ids to put before a request's own: empty unless the adapter is a prompt."""
        if name is None or not isinstance(self.configs[name], PromptConfig):
            return []
        ids = token_table(self.model).ids[name]
        return list(range(ids.start, ids.stop))

    def positions(self, name: str | None) -> int:
        """How much of the window the adapter takes."""
        return 0 if name is None else _length(self.configs[name])

    def check(self, name: str) -> None:
        """Raise `RequestError` for an adapter that is not there."""
        if name not in self.configs:
            there = ", ".join(self.configs) or "none"
            raise RequestError(
                Text(f"There is no adapter {name}; there are: {there}.", f"没有适配器 {name}；现有：{there}。"),
                Text("Name one of them, or none for the base model.", "请指定其中之一；不指定则使用基础模型。"),
            )  # fmt: skip

    def changes(self, name: str) -> dict[str, Change]:
        """What an adapter does to linear layers, by the layer's full name."""
        layers = adapted_layers(self.model)
        return {key: layer.change(name) for key, layer in layers.items() if name in layer.changes}

    def table(self, name: str) -> nn.Parameter:
        """The trained table of a prompt, (N, C), or of a prefix, (N, layers x 2 x kv_heads x head_size)."""
        if isinstance(self.configs[name], PromptConfig):
            return cast(nn.Parameter, token_table(self.model).prompts[name])
        return cast(nn.Parameter, prefixes(self.model, self._switch).tables[name])

    @torch.no_grad()
    def merge(self, name: str) -> None:
        """Write a LoRA adapter into the weights: every pass goes through it, at the base's cost.

        The base's own weights of these layers are kept beside, so that `unmerge` gives them back byte for byte.
        Raises `ConfigError` for a soft prompt, and for a head that shares the embedding's weights.
        """
        self.check(name)
        assert self.merged is None, "unmerge first"
        if not isinstance(self.configs[name], LoraConfig):
            raise _not_mergeable(f"{name} is a soft prompt", f"{name} 是软提示")
        layers = adapted_layers(self.model)
        changes = self.changes(name)
        shared = _shared(self.model)
        for key in changes:
            if layers[key].weight in shared:
                raise _not_mergeable(
                    f"{key} shares its weights with the embedding", f"{key} 与词嵌入共享权重"
                )
        for key, change in changes.items():
            layer = layers[key]
            self._own[key] = layer.weight.data, None if layer.bias is None else layer.bias.data
            _set(layer, *change.merged(layer))
        self.merged, self.active = name, None

    def unmerge(self) -> None:
        """Give the base its own weights back; the adapter stays, and is `active`."""
        assert self.merged is not None
        layers = adapted_layers(self.model)
        for key, own in self._own.items():
            _set(layers[key], *own)
        self._own = {}
        self.active, self.merged = self.merged, None

    def detach(self) -> None:
        """Make the model a plain one again, with the weights that it has now: merged ones, or the base's.

        All of it trains again that trained before; the adapters are gone.
        """
        restore(self.model)
        for parameter in self._froze:
            parameter.requires_grad_(True)
        self.configs, self.merged, self.active, self._own = {}, None, None, {}

    def _add_prefix(self, name: str, length: int, words: Tensor | None) -> None:
        held = prefixes(self.model, self._switch)
        if words is None:
            table = torch.empty(length, held.width, device=next(self.model.parameters()).device)
            nn.init.normal_(table, std=0.02)
        elif isinstance(self.model, Seq2Seq):
            raise ConfigError(
                Text("A prefix of an encoder-decoder cannot begin as words: what they are there hangs on a source.",
                     "编码器-解码器的前缀不能由文字初始化：文字在其中的表示取决于源文本。"),
                Text("Let it begin at random.", "请让它随机初始化。"),
            )  # fmt: skip
        else:
            with self.rows([None]):
                table = words_as_prefix(reader(self.model), length, words)
        held.tables[name] = nn.Parameter(table)

    def _check_new(self, name: str, config: AdapterConfig, words: Sequence[int] | None) -> None:
        assert self.merged is None, "unmerge first"
        assert words is None or len(words), "an empty text is no beginning"
        if name in self.configs:
            raise ConfigError(
                Text(f"There is an adapter {name} already.", f"已有名为 {name} 的适配器。"),
                Text("Remove it first, or give another name.", "请先移除它，或另取名称。"),
            )
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name) or hasattr(nn.ModuleDict, name):
            raise ConfigError(
                Text(f"An adapter cannot be called {name!r}.", f"适配器不能命名为 {name!r}。"),
                Text("Use letters, digits, - and _, and no word such as train or keys.",
                     "请使用字母、数字、- 与 _，并避开 train、keys 之类的词。"),
            )  # fmt: skip
        length, window = _length(config), self.model.config.window
        if length >= window:
            raise ConfigError(
                Text(f"{length} virtual tokens leave no room in a window of {window}.",
                     f"{length} 个虚拟词元占满了长度为 {window} 的窗口。"),
                Text("Use fewer.", "请减少虚拟词元。"),
            )  # fmt: skip


def _length(config: AdapterConfig) -> int:
    return config.length if isinstance(config, PromptConfig | PrefixConfig) else 0


def _shared(model: Model) -> set[nn.Parameter]:
    """Parameters that are known by two names."""
    seen: set[nn.Parameter] = set()
    twice: set[nn.Parameter] = set()
    for _, parameter in model.named_parameters(remove_duplicate=False):
        (twice if parameter in seen else seen).add(parameter)
    return twice


def _set(layer: nn.Linear, weight: Tensor, bias: Tensor | None) -> None:
    layer.weight.data = weight
    if bias is not None:
        layer.bias.data = bias


def _not_mergeable(en: str, zh: str) -> ConfigError:
    return ConfigError(
        Text(f"This adapter cannot be merged into the weights: {en}.", f"该适配器无法合并进权重：{zh}。"),
        Text("Use it beside the base, as it is.", "请保持原样，与基础模型一起使用。"),
    )
