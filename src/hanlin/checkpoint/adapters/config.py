"""adapter_config.json as PEFT writes it."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hanlin.base.errors import CheckpointError
from hanlin.base.language import Text
from hanlin.model.config import CoreConfig

NAME = "adapter_config.json"

ValueT = TypeVar("ValueT")

_ABOUT = frozenset(
    {"auto_mapping", "revision", "inference_mode", "peft_version", "megatron_config", "megatron_core"}
    | {"qalora_group_size", "eva_config", "lora_ga_config", "prompt_tuning_init", "prompt_tuning_init_text"}
    | {"tokenizer_name_or_path", "tokenizer_kwargs", "encoder_hidden_size", "prefix_projection", "init_weights"}
)  # fmt: skip
"""Keys that do not change what a finished adapter computes: where it comes from, how it began, who trained it."""

_TASKS = {
    "lm": "CAUSAL_LM",
    "classify": "SEQ_CLS",
    "regress": "SEQ_CLS",
    "tag": "TOKEN_CLS",
    "span": "QUESTION_ANS",
    "none": "FEATURE_EXTRACTION",
}
"""PEFT's word for what each head does."""


class PeftConfig(BaseModel):
    """What of adapter_config.json decides what the adapter computes; every other key must be empty."""

    model_config = ConfigDict(extra="allow")

    peft_type: Literal["LORA", "PROMPT_TUNING", "PREFIX_TUNING"]
    task_type: str | None = None
    base_model_name_or_path: str | None = None
    modules_to_save: list[str] | None = None

    r: int = Field(8, ge=1)
    lora_alpha: float = Field(8.0, gt=0, allow_inf_nan=False)
    lora_dropout: float = Field(0.0, ge=0, lt=1)
    target_modules: list[str] | str | None = None
    exclude_modules: list[str] | str | None = None
    layers_to_transform: list[int] | int | None = None
    layers_pattern: list[str] | str | None = None
    rank_pattern: dict[str, Annotated[int, Field(ge=1)]] | None = None
    alpha_pattern: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] | None = None
    use_rslora: bool = False
    use_dora: bool = False
    fan_in_fan_out: bool = False
    bias: Literal["none"] = "none"
    init_lora_weights: Literal[True, False, "gaussian", "eva", "orthogonal"] | None = True

    num_virtual_tokens: int | None = Field(None, ge=1)
    token_dim: int | None = Field(None, ge=1)
    num_layers: int | None = None
    num_attention_heads: int | None = None
    num_transformer_submodules: Literal[1, 2] | None = None

    def chooses(self, module: str) -> bool:
        """Whether LoRA is put on the linear module of this name."""
        saved = any(re.match(rf"(^|.*\.){name}($|\..*)", module) for name in self.modules_to_save or ())
        if saved or (self.exclude_modules and _named(module, self.exclude_modules)):
            return False
        if self.target_modules is None or not _named(module, self.target_modules):
            return False
        if self.layers_to_transform in (None, []) or isinstance(self.target_modules, str):
            return True
        if module in self.target_modules:
            return True
        wanted = self.layers_to_transform
        return _layer(module, self.layers_pattern) in (wanted if isinstance(wanted, list) else [wanted])

    def patterns(self) -> Iterator[str]:
        """All that is read as a regular expression."""
        yield from (*(self.rank_pattern or ()), *(self.alpha_pattern or ()), *(self.modules_to_save or ()))
        yield from (names for names in (self.target_modules, self.exclude_modules) if isinstance(names, str))
        yield from _listed(self.layers_pattern)

    def rank(self, module: str) -> int:
        """The rank of one module."""
        return _patterned(self.rank_pattern or {}, module, self.r)

    def alpha(self, module: str) -> float:
        """The alpha of one module."""
        return _patterned(self.alpha_pattern or {}, module, self.lora_alpha)


def read_peft_config(folder: Path) -> PeftConfig:
    """Read adapter_config.json.

    Raises `CheckpointError` when it is missing, damaged, or of an adapter that is not LoRA, a prompt or a prefix, or
    that has a setting which ours do not.
    """
    path = folder / NAME
    if not path.is_file():
        raise CheckpointError(
            Text(f"{folder} is not an adapter folder: it has no {NAME}.", f"{folder} 不是适配器目录：其中没有 {NAME}。"),
            Text(f"Give a folder with {NAME} and adapter_model.safetensors.",
                 f"请给出包含 {NAME} 与 adapter_model.safetensors 的目录。"),
        )  # fmt: skip
    try:
        config = PeftConfig.model_validate(json.loads(path.read_text("utf-8")))
        for pattern in config.patterns():
            re.compile(pattern)
    except ValidationError as error:
        detail = error.errors()[0]
        key = ".".join(map(str, detail["loc"]))
        raise _not_ours(path, key, f"{detail['input']!r:.80}: {detail['msg']}") from error
    except (ValueError, RecursionError, re.error) as error:
        raise CheckpointError(
            Text(f"{path} is damaged: {error}", f"{path} 已损坏：{error}"),
            Text("Restore it from a copy.", "请从备份恢复该文件。"),
        ) from error
    if config.peft_type != "LORA" and config.num_virtual_tokens is None:
        raise _not_ours(path, "num_virtual_tokens", "null")
    for key, value in (config.model_extra or {}).items():
        if key not in _ABOUT and value not in (None, False, {}, []):
            raise _not_ours(path, key, f"{value!r:.80}")
    return config


def task_type(config: CoreConfig) -> str | None:
    """PEFT's word for what a model does; None for a masked language model."""
    return "SEQ_2_SEQ_LM" if config.assembly == "seq2seq" else _TASKS.get(config.head)


def check_prefix(config: CoreConfig) -> None:
    """Raise `CheckpointError` for a prefix of an encoder-decoder.

    There PEFT 0.21 gives block i the keys and values 2i modulo the number of blocks, so that blocks share theirs.
    """
    if config.assembly == "seq2seq":
        raise CheckpointError(
            Text("Prefixes of an encoder-decoder have no folder: PEFT lets blocks share them.",
                 "编码器-解码器的前缀没有对应的目录格式：PEFT 会让各层共用前缀。"),
            Text("Use LoRA or a prompt.", "请改用 LoRA 或提示微调。"),
        )  # fmt: skip


def write_peft_config(folder: Path, values: dict[str, Any]) -> None:
    """Write adapter_config.json; whole numbers without a point, keys in order."""
    (folder / NAME).write_text(json.dumps(_plain(values), indent=1, sort_keys=True) + "\n", "utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _named(module: str, names: Iterable[str] | str) -> bool:
    """PEFT's rule: a list holds ends of names, a text is a pattern for the whole name."""
    if isinstance(names, str):
        return names.lower() == "all-linear" or re.fullmatch(names, module) is not None
    return any(f".{module}".endswith(f".{name}") for name in names)


def _listed(names: list[str] | str | None) -> list[str]:
    return [names] if isinstance(names, str) and names else list(names or ())


def _layer(module: str, patterns: list[str] | str | None) -> int | None:
    """The number of the layer that a module lies in: the first number, or that behind one of the patterns."""
    for name in _listed(patterns) or [r"[^.]*"]:
        found = re.match(rf"(?:^|.*?\.){name}\.(\d+)\.", module)
        if found:
            return int(found[1])
    return None


def _patterned(patterns: Mapping[str, ValueT], module: str, default: ValueT) -> ValueT:
    """PEFT's rule: the first pattern that the name ends in."""
    return next((value for key, value in patterns.items() if re.match(rf"(.*\.)?({key})$", module)), default)


def _not_ours(path: Path, key: str, value: str) -> CheckpointError:
    return CheckpointError(
        Text(f"{path} sets {key} to {value}; such adapters cannot be opened.",
             f"{path} 将 {key} 设为 {value}；无法打开这样的适配器。"),
        Text("LoRA, rsLoRA, DoRA, prompt tuning and prefix tuning can, on linear layers, without trained biases.",
             "可以打开的有：线性层上的 LoRA、rsLoRA、DoRA，以及提示微调与前缀微调，且不含训练过的偏置。"),
    )  # fmt: skip
