"""Writing an adapter folder as PEFT keeps it: adapter_config.json, adapter_model.safetensors, and our hanlin.json."""

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from hanlin.base.errors import CheckpointError
from hanlin.base.files import atomic_folder, write_further
from hanlin.base.language import Text
from hanlin.base.manifest import Manifest, fingerprint, write_manifest
from hanlin.checkpoint.adapters.config import check_prefix, task_type, write_peft_config
from hanlin.checkpoint.adapters.tensors import (
    LABEL_HEADS,
    fuse,
    linear_modules,
    whole_tensors,
)
from hanlin.checkpoint.family import Family
from hanlin.checkpoint.tensor_files import save_tensors
from hanlin.model.adapters.adapters import Adapters
from hanlin.model.adapters.config import LoraConfig, PrefixConfig, PromptConfig
from hanlin.model.adapters.lora import LowRank
from hanlin.model.assemble import Model
from hanlin.model.config import CoreConfig

NAME = "adapter_model.safetensors"
TABLE = "prompt_embeddings"
"""PEFT's name for the table of a prompt or prefix."""

LORA_PREFIX, TABLE_PREFIX = "base_model.model.", "base_model."
"""What stands before the names of tensors, of LoRA, and of layers that a prompt or prefix replaces."""


def save_adapter(
    folder: Path,
    adapters: Adapters,
    name: str,
    family: Family,
    base: str | None = None,
    report: dict[str, Any] | None = None,
    inputs: Mapping[str, str] = MappingProxyType({}),
    texts: Mapping[str, str] = MappingProxyType({}),
) -> Manifest:
    """Write one adapter as a PEFT folder that appears whole or not at all.

    family: that of the base's folder, whose names the tensors get. base: where PEFT finds the base. inputs:
    fingerprints beside the base's. texts: further files, by their place in the folder.
    """
    assert adapters.merged is None, "unmerge first: the base's own weights are its fingerprint"
    config, model = adapters.configs[name], adapters.model
    tensors = whole_tensors(family, adapters, name)
    values: dict[str, Any] = {
        "base_model_name_or_path": base,
        "inference_mode": True,
        "task_type": task_type(model.config),
        "modules_to_save": _saved_modules(tensors),
    }
    if isinstance(config, LoraConfig):
        lora, settings = _lora(config, adapters, name, family)
        named = {f"{LORA_PREFIX}{key}": tensor for key, tensor in (*tensors.items(), *lora.items())}
    else:
        assert isinstance(config, PromptConfig | PrefixConfig)
        settings = _table_settings(config, model.config)
        named = {f"{TABLE_PREFIX}{key}": tensor for key, tensor in tensors.items()}
        named[TABLE] = adapters.table(name).detach().cpu()
    with atomic_folder(folder) as fresh:
        write_peft_config(fresh, {**values, **settings})
        save_tensors(fresh / NAME, {key: tensor.contiguous() for key, tensor in sorted(named.items())})
        write_further(fresh, texts)
        known = {**inputs, "base": base_fingerprint(model)}
        return write_manifest(fresh, "adapter", config.model_dump(), known, report)


def _saved_modules(tensors: Iterable[str]) -> list[str] | None:
    """PEFT's names of the modules that the adapter replaces."""
    modules = {
        key.split(".")[0] if key.split(".")[0] in LABEL_HEADS else key.rpartition(".")[0] for key in tensors
    }
    return sorted(modules) or None


def _lora(
    config: LoraConfig, adapters: Adapters, name: str, family: Family
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and settings of a LoRA adapter."""
    changes = {key: change for key, change in adapters.changes(name).items() if isinstance(change, LowRank)}
    modules = linear_modules(family, adapters.model)
    chosen = {key: module for key, module in modules.items() if not changes.keys().isdisjoint(module.layers)}
    missing = changes.keys() - {layer for module in chosen.values() for layer in module.layers}
    if missing:
        raise _no_place(sorted(missing)[0], family)
    tensors, ranks, alphas = {}, {}, {}
    for key, module in chosen.items():
        fused = fuse(module, changes, adapters.model, rslora=config.rslora)
        tensors.update({f"{key}.{part}": tensor for part, tensor in fused.tensors()})
        if fused.rank != config.rank:
            ranks[key] = fused.rank
        if fused.alpha != config.alpha:
            alphas[key] = fused.alpha
    return tensors, {
        "peft_type": "LORA",
        "target_modules": _short(chosen.keys(), modules.keys()),
        "r": config.rank,
        "lora_alpha": config.alpha,
        "rank_pattern": ranks,
        "alpha_pattern": alphas,
        "lora_dropout": config.dropout,
        "use_rslora": config.rslora,
        "use_dora": config.dora,
        "fan_in_fan_out": any(module.transposed for module in chosen.values()),
        "bias": "none",
    }


def _short(chosen: Collection[str], modules: Collection[str]) -> list[str]:
    """The shortest ends of names that choose exactly these modules."""
    for length in (1, 2):
        ends = {".".join(name.split(".")[-length:]) for name in chosen}
        if {name for name in modules if ".".join(name.split(".")[-length:]) in ends} == set(chosen):
            return sorted(ends)
    return sorted(chosen)


def _table_settings(config: PromptConfig | PrefixConfig, core: CoreConfig) -> dict[str, Any]:
    """The settings of a prompt or prefix; for a prefix PEFT counts what the cache keeps."""
    settings = {
        "num_virtual_tokens": config.length,
        "num_layers": core.layers,
        "num_transformer_submodules": 1,
    }
    if isinstance(config, PromptConfig):
        kind, width, heads = "PROMPT_TUNING", core.width, core.heads
    else:
        check_prefix(core)
        kind, width, heads = "PREFIX_TUNING", core.kv_heads * core.head_size, core.kv_heads
    return {"peft_type": kind, "token_dim": width, "num_attention_heads": heads, **settings}


def base_fingerprint(model: Model) -> str:
    """16 hexadecimal digits of a base: names and shapes of its weights, and some 256 values of each, evenly spread.

    Values count as bfloat16, so that a base has one fingerprint in all number formats; what stands after the last
    hidden state does not count, since adapters for labels bring their own.
    """
    own = {}
    for name, parameter in model.named_parameters():
        if not re.match(r"(head|transform|pooler|next_sentence|transitions)\.", name) and not _ADDED.search(
            name
        ):
            values = parameter.detach().flatten()
            values = values[:: max(1, len(values) // 256)].to("cpu", torch.bfloat16)
            own[name] = [list(parameter.shape), values.view(torch.int16).tolist()]
    return fingerprint(own)


_ADDED = re.compile(r"(^|\.)(changes|prompts|prefixes)\.")


def _no_place(layer: str, family: Family) -> CheckpointError:
    return CheckpointError(
        Text(f"{layer} is no linear layer of its own in a {family.name} folder: PEFT has no place for its change.",
             f"在 {family.name} 目录中，{layer} 不是单独的线性层：PEFT 无处存放其改动。"),
        Text("Leave that layer out, or merge the adapter and write a model folder.",
             "请不要改动该层，或先合并适配器，再写出模型目录。"),
    )  # fmt: skip
