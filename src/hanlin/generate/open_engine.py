"""A model folder or file -> the engine that runs it, and why that one."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from hanlin.base.device import Compute, DeviceName, choose_compute
from hanlin.base.errors import ConfigError
from hanlin.base.language import Text
from hanlin.base.progress import console
from hanlin.checkpoint.adapters.read import load_adapter
from hanlin.checkpoint.defaults import GenerationDefaults
from hanlin.checkpoint.folder import Described, build_described, check_continues, describe_model
from hanlin.checkpoint.gguf.quants import Quantization
from hanlin.checkpoint.gguf_file import write_model_gguf
from hanlin.checkpoint.stored import StoredWeights, WeightsName
from hanlin.generate.engine import Engine
from hanlin.generate.engine_choice import EngineName, choose_engine
from hanlin.generate.engine_protocol import TextEngine
from hanlin.generate.kernel_runner import KernelRunner
from hanlin.generate.llamacpp_runner import LlamaCppModel, LlamaCppRunner
from hanlin.generate.runner import Runner
from hanlin.generate.torch_runner import TorchRunner
from hanlin.generate.vllm_engine import VllmEngine
from hanlin.model.adapters.adapters import Adapters
from hanlin.model.decoder import Decoder
from hanlin.tokenizer.tokenizer import Tokenizer

_KINDS: dict[WeightsName, Quantization] = {"auto": "F32", "float32": "F32", "int8": "Q8_0", "int4": "Q4_0"}
"""How a model is written for llama.cpp."""


@dataclass(frozen=True)
class OpenedEngine:
    """An engine and what belongs to its model.

    name: which engine runs; reason: why. model: the decoder, where PyTorch runs it; otherwise the folder or file
    from which it can be opened.
    """

    engine: TextEngine
    name: EngineName
    reason: Text
    model: Decoder | Path
    tokenizer: Tokenizer
    defaults: GenerationDefaults
    compute: Compute


def open_engine(
    folder: Path,
    device: DeviceName = "auto",
    engine: EngineName = "auto",
    weights: WeightsName = "auto",
    adapters: Mapping[str, Path] | None = None,
    max_rows: int = 8,
    window: int | None = None,
    threads: int | None = None,
    compiled: bool = False,
) -> OpenedEngine:
    """Open a model for continuing text.

    engine: "auto" takes the kernel where it can run the model, and PyTorch otherwise. weights: "auto" leaves them as
    they are stored; "float32" undoes quantisation; "int8" and "int4" are GGUF's Q8_0 and Q4_0. adapters: folders by
    name. max_rows: requests that run at once. window: tokens of one request. threads: of the CPU. compiled: as for
    `TorchRunner`; other engines have compiled code as it is.

    Raises `CheckpointError` for a model that cannot be opened, `MissingExtra` for an engine that is not installed,
    `ConfigError` for one that cannot run this model here, and for numbers below 1.
    """
    for name, number in {"max_rows": max_rows, "window": window, "threads": threads}.items():
        if number is not None and number < 1:
            raise _too_few(name, number)
    described = describe_model(folder)
    check_continues(folder, described.config)
    compute = choose_compute(device)
    if threads is not None:
        torch.set_num_threads(threads)
    chosen, reason = choose_engine(engine, described.config, compute, weights, bool(adapters))
    opened: TextEngine
    model: Decoder | Path = described.path
    if chosen == "vllm":
        opened = VllmEngine(described.path, described.tokenizer, compute, max_rows, window)
    else:
        slots = 2 * max_rows  # beside the running texts, as many beginnings that others may share
        runner: Runner
        if chosen == "kernel":
            runner = KernelRunner(described, slots, window, threads, weights)
        elif chosen == "llamacpp":
            runner = LlamaCppRunner(_llamacpp_model(described, compute, weights), slots, window, threads)
        else:
            runner = _torch_runner(described, compute, weights, adapters or {}, slots, window, compiled)
            model = runner.model
        opened = Engine(runner, described.tokenizer, max_rows)
    return OpenedEngine(opened, chosen, reason, model, described.tokenizer, described.defaults, compute)


def _torch_runner(
    described: Described,
    compute: Compute,
    weights: WeightsName,
    adapters: Mapping[str, Path],
    slots: int,
    window: int | None,
    compiled: bool,
) -> TorchRunner:
    """With quantised weights on a CPU, what the kernel computes, in its numbers."""
    on_cpu = compute.device.type == "cpu"
    if weights in ("int8", "int4") or (weights == "auto" and described.gguf is not None and on_cpu):
        stored = StoredWeights(described, weights)
        model, dtype = stored.decoder(compute), torch.float16 if stored.formats and on_cpu else None
    else:
        model, dtype = _decoder(described, compute), None
    return TorchRunner(model, compute, slots, window, _adapters(described, model, adapters), dtype, compiled)


def _decoder(described: Described, compute: Compute) -> Decoder:
    model = build_described(described, compute)
    assert isinstance(model, Decoder)
    return model


def _adapters(described: Described, model: Decoder, folders: Mapping[str, Path]) -> Adapters | None:
    if not folders:
        return None
    adapters = Adapters(model)
    for name, folder in folders.items():
        load_adapter(folder, adapters, name, described.family)
    model.eval()
    return adapters


def _too_few(name: str, number: int) -> ConfigError:
    return ConfigError(
        Text(f"{name} = {number}: it must be >= 1.", f"{name} = {number} 无效：须 >= 1。"),
        Text("Give 1 or more, or leave it out.", "请给出 1 或更大的数，或不设置它。"),
    )


def _llamacpp_model(described: Described, compute: Compute, weights: WeightsName) -> LlamaCppModel:
    """A GGUF file as it is; anything else is written as one that lives as long as the model."""
    gpu = compute.device.type != "cpu"
    if described.gguf is not None and weights == "auto":
        return LlamaCppModel(described.path, described.config, gpu)
    kind = _KINDS[weights]
    console.print(
        str(
            Text(
                f"Writing a temporary {kind} file for llama.cpp.",
                f"正在为 llama.cpp 写出临时的 {kind} 文件。",
            )
        )
    )
    folder = TemporaryDirectory(prefix="hanlin-")
    path, model = Path(folder.name) / "model.gguf", _decoder(described, choose_compute("cpu"))
    write_model_gguf(path, model, described.tokenizer, described.defaults, described.family, kind, "ignore")
    return LlamaCppModel(path, described.config, gpu, folder)
