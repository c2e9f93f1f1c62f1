"""What a sentence-transformers folder says of turning hidden states into one vector: `modules.json` and its files.

Source: arXiv 1908.10084, and the layout of the library of that paper.
"""

import json
from pathlib import Path
from typing import Any, Literal, NamedTuple

from hanlin.base.errors import CheckpointError
from hanlin.base.language import Text

Pooling = Literal["first", "mean", "last"]

_POOLINGS: dict[str, Pooling] = {"cls": "first", "mean": "mean", "lasttoken": "last"}
_OPTIONAL = ("sentence_bert_config.json", "config_sentence_transformers.json")
_OLD_POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_lasttoken": "lasttoken",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
}


class SentenceSettings(NamedTuple):
    """How texts become vectors.

    pooling: which hidden state stands for a text. normalize: whether vectors get length 1. max_tokens: longer texts
    are cut, special tokens included. lowercase, prompt: what is done to a text, and what is set before it.
    source: where this was read, "" if it is only our custom.
    """

    pooling: Pooling
    normalize: bool
    max_tokens: int
    lowercase: bool = False
    prompt: str = ""
    source: str = ""


def read_sentence_settings(folder: Path, window: int) -> SentenceSettings | None:
    """The settings in `folder` of a model with this window; None where there is no `modules.json`.

    Raises `CheckpointError` for damaged files, and for what we can not do (a Dense module, max pooling).
    """
    if not (folder / "modules.json").is_file():
        return None
    modules = _modules(folder)
    kinds = [kind for kind, _ in modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise _cannot(folder / "modules.json", " + ".join(kinds), "Transformer + Pooling (+ Normalize)")
    place = modules[1][1]
    transformer, general = (_json(folder, name) if (folder / name).is_file() else {} for name in _OPTIONAL)
    prompts, chosen = general.get("prompts") or {}, general.get("default_prompt_name")
    return SentenceSettings(
        pooling=_pooling(folder, f"{place}/config.json"),
        normalize="Normalize" in kinds,
        max_tokens=min(window, transformer.get("max_seq_length") or window),
        lowercase=bool(transformer.get("do_lower_case")),
        prompt=prompts.get(chosen, ""),
        source=f"modules.json, {place}/config.json" + (", sentence_bert_config.json" if transformer else ""),
    )


def sentence_files(folder: Path) -> dict[str, str]:
    """The files behind `read_sentence_settings`, by their place in the folder; none for another kind of folder."""
    if not (folder / "modules.json").is_file():
        return {}
    names = ["modules.json", *_OPTIONAL, *(f"{place}/config.json" for _, place in _modules(folder) if place)]
    return {name: (folder / name).read_text("utf-8") for name in names if (folder / name).is_file()}


def sentence_texts(settings: SentenceSettings, width: int) -> dict[str, str]:
    """Files that say these settings, of vectors of this width, by their place in a model's folder."""
    kinds = ["Transformer", "Pooling", *(["Normalize"] if settings.normalize else [])]
    places = ["", *(f"{number}_{kind}" for number, kind in enumerate(kinds) if number)]
    modules = [
        {"idx": number, "name": str(number), "path": place, "type": f"sentence_transformers.models.{kind}"}
        for number, (kind, place) in enumerate(zip(kinds, places, strict=True))
    ]
    modes = {
        key: mode in _POOLINGS and _POOLINGS[mode] == settings.pooling for key, mode in _OLD_POOLINGS.items()
    }
    files: dict[str, Any] = {
        "modules.json": modules,
        "1_Pooling/config.json": {"word_embedding_dimension": width, **modes},
        "sentence_bert_config.json": {
            "max_seq_length": settings.max_tokens,
            "do_lower_case": settings.lowercase,
        },
    }
    if settings.prompt:
        files["config_sentence_transformers.json"] = {
            "prompts": {"text": settings.prompt},
            "default_prompt_name": "text",
        }
    return {name: json.dumps(values, ensure_ascii=False, indent=1) + "\n" for name, values in files.items()}


def _modules(folder: Path) -> list[tuple[str, str]]:
    """The last part of each module's class, and its folder."""
    try:
        return [
            (module["type"].rpartition(".")[2], module["path"]) for module in _json(folder, "modules.json")
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise _damaged(folder / "modules.json", repr(error)) from error


def _pooling(folder: Path, name: str) -> Pooling:
    values = _json(folder, name)
    modes = [mode for key, mode in _OLD_POOLINGS.items() if values.get(key)]
    given = values.get("pooling_mode")
    modes = modes or ([given] if isinstance(given, str) else list(given or ["mean"]))
    if len(modes) != 1 or modes[0] not in _POOLINGS or values.get("include_prompt") is False:
        raise _cannot(folder / name, " + ".join(map(str, modes)), ", ".join(_POOLINGS))
    return _POOLINGS[modes[0]]


def _json(folder: Path, name: str) -> Any:
    try:
        values = json.loads((folder / name).read_text("utf-8"))
        if not isinstance(values, list if name == "modules.json" else dict):
            raise ValueError("not of the right kind")
        return values
    except (OSError, ValueError) as error:
        raise _damaged(folder / name, str(error)) from error


def _damaged(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        Text(f"{path} is missing or damaged: {reason}", f"{path} 不存在或已损坏：{reason}"),
        Text("Restore it from a copy.", "请从备份恢复该文件。"),
    )


def _cannot(path: Path, found: str, known: str) -> CheckpointError:
    return CheckpointError(
        Text(f"{path} asks for {found}; what can be done is {known}.", f"{path} 要求 {found}；目前支持的是 {known}。"),
        Text("Use another model, or set --pooling yourself in a copy of the folder without modules.json.",
             "请换用其他模型；或复制该目录、去掉 modules.json，再自行指定 --pooling。"),
    )  # fmt: skip
