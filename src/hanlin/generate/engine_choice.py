"""Which engine runs a model: the one that is asked for, if it can, or the best that can."""

from importlib.util import find_spec
from typing import Literal, get_args

from hanlin.base.device import Compute
from hanlin.base.errors import ConfigError, HanlinError, MissingExtra
from hanlin.base.language import Text
from hanlin.checkpoint.stored import WeightsName
from hanlin.generate.kernel_runner import KernelRunner
from hanlin.generate.llamacpp_runner import llama_cpp
from hanlin.model.config import CoreConfig

EngineName = Literal["auto", "kernel", "torch", "llamacpp", "vllm"]


def choose_engine(
    asked: EngineName, config: CoreConfig, compute: Compute, weights: WeightsName, adapters: bool
) -> tuple[EngineName, Text]:
    """The engine and why it is this one, as the end of a sentence. adapters: whether there are any.

    Raises `ConfigError` for names that there are not and where the one asked for cannot run this, `MissingExtra` where it is not installed.
    """
    for setting, given, names in (("engine", asked, EngineName), ("weights", weights, WeightsName)):
        if given not in get_args(names):
            raise _unknown(setting, given, get_args(names))
    if asked == "auto":
        obstacle = kernel_obstacle(config, compute, adapters)
        if obstacle is None:
            return "kernel", Text("the native kernel can run this model", "原生内核可以运行该模型")
        return "torch", obstacle
    obstacle = _obstacle(asked, config, compute, weights, adapters)
    if obstacle is not None:
        raise _cannot(asked, obstacle)
    return asked, Text("it was asked for", "这是指定的引擎")


def kernel_obstacle(config: CoreConfig, compute: Compute, adapters: bool) -> Text | None:
    """Why the native kernel cannot run a model here; None if it can."""
    if compute.device.type != "cpu":
        device = compute.device.type
        return Text(
            f"the native kernel runs on the CPU only, and this is {device}",
            f"原生内核只在 CPU 上运行，而设备为 {device}",
        )
    if adapters:
        return Text("the native kernel takes no adapters", "原生内核不支持适配器")
    return KernelRunner.supports(config)


def _obstacle(
    asked: EngineName, config: CoreConfig, compute: Compute, weights: WeightsName, adapters: bool
) -> Text | None:
    """Why an engine that was named cannot run this; None if it can. Raises `MissingExtra`."""
    match asked:
        case "kernel":
            return kernel_obstacle(config, compute, adapters)
        case "llamacpp":
            library = llama_cpp()
            if adapters:
                return Text("llama.cpp takes no adapters from here", "此处的 llama.cpp 不支持适配器")
            if compute.device.type != "cpu" and not library.llama_supports_gpu_offload():
                return Text("this llama.cpp was built for the CPU only", "这个 llama.cpp 只支持 CPU")
        case "vllm":
            if find_spec("vllm") is None:
                raise MissingExtra(Text("The engine vLLM", "vLLM 引擎"), package="vllm")
            if adapters:
                return Text("vLLM takes no adapters from here", "此处的 vLLM 不支持适配器")
            if weights in ("int8", "int4"):
                return Text(
                    f"vLLM takes weights as they are stored, not {weights}",
                    f"vLLM 按存储格式使用权重，而不是 {weights}",
                )
    return None


def _unknown(setting: str, given: str, names: tuple[str, ...]) -> HanlinError:
    return ConfigError(
        Text(f"There is no {setting} {given!r}.", f"没有 {setting} {given!r}。"),
        Text(f"Choose one of {', '.join(names)}.", f"请选用 {'、'.join(names)} 之一。"),
    )


def _cannot(asked: EngineName, obstacle: Text) -> HanlinError:
    return ConfigError(
        Text(f"The engine {asked} cannot run this: {obstacle.en}.", f"引擎 {asked} 无法运行：{obstacle.zh}。"),
        Text("Use engine auto, or run `hanlin doctor` to see what works here.",
             "请使用 auto 引擎，或运行 `hanlin doctor` 查看本机可用的引擎。"),
    )  # fmt: skip
