"""Opening an adapter folder, PEFT's or ours: adapter_config.json and adapter_model.safetensors."""

import difflib
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from hanlin.base.errors import CheckpointError
from hanlin.base.files import recover_folder
from hanlin.base.language import Text
from hanlin.base.manifest import NAME as MANIFEST
from hanlin.base.manifest import read_manifest, verify_files
from hanlin.checkpoint.adapters.config import PeftConfig, check_prefix, read_peft_config, task_type
from hanlin.checkpoint.adapters.tensors import PARTS, Module, linear_modules, unfuse, whole_entries
from hanlin.checkpoint.adapters.write import LORA_PREFIX, NAME, TABLE, TABLE_PREFIX, base_fingerprint
from hanlin.checkpoint.family import Family
from hanlin.checkpoint.keys import Entry
from hanlin.model.adapters.adapters import Adapters
from hanlin.model.adapters.config import AdapterConfig, LoraConfig, PrefixConfig, PromptConfig
from hanlin.model.adapters.lora import LowRank
from hanlin.model.assemble import Model


def load_adapter(folder: Path, adapters: Adapters, name: str, family: Family) -> None:
    """Add the adapter of a folder to `adapters`, under `name`.

    family: that of the base's folder, whose names the tensors have.
    Raises `CheckpointError` for a folder that is missing, damaged or pickled, for an adapter of another kind or
    another base, and for tensors that are unknown, missing or misshapen; `ConfigError` for a name that is taken.
    """
    recover_folder(folder)
    peft, model = read_peft_config(folder), adapters.model
    _check_base(folder, peft, model)
    tensors = _read_tensors(folder, LORA_PREFIX if peft.peft_type == "LORA" else TABLE_PREFIX)
    whole = {key: entry for key, entry in whole_entries(family, model).items() if key in tensors}
    shapes = {key: _whole_shape(entry, model) for key, entry in whole.items()}
    modules: dict[str, Module] = {}
    if peft.peft_type == "LORA":
        modules = {
            key: module for key, module in linear_modules(family, model).items() if _chosen(peft, module)
        }
        for module in modules.values():
            shapes.update(_lora_shapes(peft, module, model))
    else:
        shapes[TABLE] = _table_shape(peft, model)
    _check_names(tensors.keys(), shapes.keys(), folder)
    if peft.peft_type == "LORA" and not modules:
        raise _no_layer(folder, peft)
    for key, shape in shapes.items():
        _check_tensor(key, tensors[key], shape, folder, peft)
    layers = dict.fromkeys(ours.rpartition(".")[0] for entry in whole.values() for ours in entry.ours)
    # What is drawn here is overwritten: nobody's next draw may depend on it.
    with torch.random.fork_rng(devices=[]):
        adapters.add(name, _settings(peft, modules, tuple(layers)))
    _fill(adapters, name, modules, whole, tensors)


def _settings(peft: PeftConfig, modules: Mapping[str, Module], whole: tuple[str, ...]) -> AdapterConfig:
    if peft.peft_type != "LORA":
        assert peft.num_virtual_tokens is not None
        kind = PromptConfig if peft.peft_type == "PROMPT_TUNING" else PrefixConfig
        return kind(length=peft.num_virtual_tokens, whole=whole)
    by_layer = {layer: key for key, module in modules.items() for layer in module.layers}
    ranks = {layer: peft.rank(key) for layer, key in by_layer.items() if peft.rank(key) != peft.r}
    alphas = {layer: peft.alpha(key) for layer, key in by_layer.items() if peft.alpha(key) != peft.lora_alpha}
    return LoraConfig(
        layers=tuple(by_layer),
        rank=peft.r,
        alpha=peft.lora_alpha,
        ranks=ranks,
        alphas=alphas,
        dropout=peft.lora_dropout,
        rslora=peft.use_rslora,
        dora=peft.use_dora,
        whole=whole,
    )


@torch.no_grad()
def _fill(
    adapters: Adapters,
    name: str,
    modules: Mapping[str, Module],
    whole: Mapping[str, Entry],
    tensors: Mapping[str, Tensor],
) -> None:
    changes = adapters.changes(name)
    low_rank = {key: change for key, change in changes.items() if isinstance(change, LowRank)}
    for key, module in modules.items():
        parts = {part: tensors[f"{key}.{part}"] for part in PARTS if f"{key}.{part}" in tensors}
        unfuse(module, parts, low_rank)
    for key, entry in whole.items():
        parameters = [changes[layer].get_parameter(part) for layer, part in map(_split, entry.ours)]
        values = entry.divide(tensors[key], [parameter.shape for parameter in parameters])
        for parameter, value in zip(parameters, values, strict=True):
            parameter.copy_(value)
    if TABLE in tensors:
        table = adapters.table(name)
        # PEFT gives an encoder-decoder a second prompt, which prompt tuning does not use.
        table.copy_(tensors[TABLE][: len(table)])


def _split(name: str) -> tuple[str, str]:
    layer, _, part = name.rpartition(".")
    return layer, part


def _chosen(peft: PeftConfig, module: Module) -> bool:
    """Whether LoRA is on a module; "all-linear" leaves the output over vocabulary or labels out."""
    everything = isinstance(peft.target_modules, str) and peft.target_modules.lower() == "all-linear"
    return peft.chooses(module.name) and not (everything and module.layers == ("head",))


def _lora_shapes(peft: PeftConfig, module: Module, model: Model) -> dict[str, tuple[int, ...]]:
    weights = [model.get_submodule(layer).get_parameter("weight") for layer in module.layers]
    rank, outputs = peft.rank(module.name), sum(weight.shape[0] for weight in weights)
    shapes: list[tuple[int, ...]] = [(rank, weights[0].shape[1]), (outputs, rank), (outputs,)]
    return {f"{module.name}.{part}": shapes[place] for place, part in enumerate(PARTS[: 2 + peft.use_dora])}


def _table_shape(peft: PeftConfig, model: Model) -> tuple[int, int]:
    config, length = model.config, peft.num_virtual_tokens or 0
    if peft.peft_type == "PREFIX_TUNING":
        check_prefix(config)
        return length, config.layers * 2 * config.kv_heads * config.head_size
    return length * (peft.num_transformer_submodules or 1), config.width


def _whole_shape(entry: Entry, model: Model) -> tuple[int, ...]:
    return entry.shape([model.get_parameter(ours).shape for ours in entry.ours])


def _read_tensors(folder: Path, prefix: str) -> dict[str, Tensor]:
    """The tensors of the folder in float32, by name without PEFT's prefix."""
    path = folder / NAME
    if not path.is_file() and any(folder.glob("*.bin")):
        raise CheckpointError(
            Text(f"{folder} holds a pickled adapter (adapter_model.bin), which can run code when opened.",
                 f"{folder} 中的适配器是 pickle 格式（adapter_model.bin），打开时可能执行代码。"),
            Text("Convert it where you trust it: load it with peft and call save_pretrained.",
                 "请在可信的环境中转换：用 peft 载入后调用 save_pretrained。"),
        )  # fmt: skip
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            Text(f"{path} cannot be opened: {error}", f"无法打开 {path}：{error}"),
            Text("The file is missing or cut short: copy it again.", "文件缺失或不完整：请重新复制。"),
        ) from error
    return {name.removeprefix(prefix): tensor.float() for name, tensor in tensors.items()}


def _check_base(folder: Path, peft: PeftConfig, model: Model) -> None:
    """Refuse an adapter for another task or, where the folder tells, for another base."""
    task = task_type(model.config)
    if peft.task_type not in (None, task):
        raise CheckpointError(
            Text(f"{folder} holds an adapter for {peft.task_type}; this base is for {task}.",
                 f"{folder} 中的适配器用于 {peft.task_type}，而该基础模型用于 {task}。"),
            Text("Open the base with the head that the adapter was trained for.", "请以训练该适配器时的输出头打开基础模型。"),
        )  # fmt: skip
    if not (folder / MANIFEST).is_file():
        return
    manifest = read_manifest(folder, "adapter")
    verify_files(folder, manifest)
    if manifest.inputs.get("base") not in (None, base_fingerprint(model)):
        meant = peft.base_model_name_or_path or "?"
        raise CheckpointError(
            Text(f"{folder} was trained on another base: {meant} (fingerprint {manifest.inputs['base']}).",
                 f"{folder} 是在另一个基础模型上训练的：{meant}（指纹 {manifest.inputs['base']}）。"),
            Text(f"Open it with {meant}; this base's fingerprint is {base_fingerprint(model)}.",
                 f"请与 {meant} 一起打开；当前基础模型的指纹是 {base_fingerprint(model)}。"),
        )  # fmt: skip


def _check_names(found: Collection[str], expected: Collection[str], folder: Path) -> None:
    """Raise `CheckpointError` unless the file holds exactly what adapter_config.json speaks of; name the nearest."""
    lines_en, lines_zh = [], []
    unknown, missing = sorted(set(found) - set(expected)), sorted(set(expected) - set(found))
    for names, others, en, zh in (
        (unknown, expected, "unknown", "未知"),
        (missing, found, "missing", "缺少"),
    ):
        for name in names[:8]:
            near = difflib.get_close_matches(name, others, n=1)
            lines_en.append(f"  {en}: {name}" + (f" (nearest: {near[0]})" if near else ""))
            lines_zh.append(f"  {zh}：{name}" + (f"（最接近：{near[0]}）" if near else ""))
        if len(names) > 8:
            lines_en.append(f"  {en}: and {len(names) - 8} more")
            lines_zh.append(f"  {zh}：另有 {len(names) - 8} 个")
    if lines_en:
        raise CheckpointError(
            Text("\n".join([f"The adapter in {folder} does not fit its adapter_config.json and this base:", *lines_en]),
                 "\n".join([f"{folder} 中的适配器与其 adapter_config.json 或该基础模型不符：", *lines_zh])),
            Text("Use the base that it was trained on; of embeddings and tied heads no change can be opened.",
                 "请使用训练它时的基础模型；无法打开对词嵌入或共享输出头的改动。"),
        )  # fmt: skip


def _check_tensor(name: str, tensor: Tensor, shape: tuple[int, ...], folder: Path, peft: PeftConfig) -> None:
    found = tuple(tensor.shape)
    if found != shape:
        meant = peft.base_model_name_or_path
        of_en, of_zh = (f" It was trained on {meant}.", f"它是在 {meant} 上训练的。") if meant else ("", "")
        raise CheckpointError(
            Text(f"{folder} is for another base: {name} has shape {found}; this base needs {shape}.{of_en}",
                 f"{folder} 属于另一个基础模型：{name} 的形状是 {found}，而该基础模型需要 {shape}。{of_zh}"),
            Text("Use the base that the adapter was trained on.", "请使用训练该适配器时的基础模型。"),
        )  # fmt: skip
    if not bool(tensor.isfinite().all()):
        raise CheckpointError(
            Text(f"{folder}: {name} holds values that are not finite.", f"{folder}：{name} 中有非有限数值。"),
            Text("Use an earlier copy of the adapter.", "请使用该适配器更早的副本。"),
        )


def _no_layer(folder: Path, peft: PeftConfig) -> CheckpointError:
    return CheckpointError(
        Text(f"{folder}: target_modules {peft.target_modules!r:.80} names no linear layer of this base.",
             f"{folder}：target_modules {peft.target_modules!r:.80} 没有指向该基础模型的任何线性层。"),
        Text("Use the base that the adapter was trained on.", "请使用训练该适配器时的基础模型。"),
    )  # fmt: skip
