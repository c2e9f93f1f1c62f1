"""Open a GGUF file as what it is a translation of: config.json, tensors, tokenizer, advice."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hanlin.checkpoint.defaults import GenerationDefaults
from hanlin.checkpoint.gguf.cursor import damaged
from hanlin.checkpoint.gguf.header import Header, read_header
from hanlin.checkpoint.gguf.read_vocabulary import read_tokenizer
from hanlin.checkpoint.gguf.settings import read_config
from hanlin.checkpoint.gguf.tensors import GgufTensors
from hanlin.tokenizer.folder import TokenizerFiles

ADVICE = {
    "temperature": "temp",
    "top_k": "top_k",
    "top_p": "top_p",
    "min_p": "min_p",
    "repetition_penalty": "penalty_repeat",
}
"""Generation default -> its name under `general.sampling`."""


@dataclass(frozen=True)
class GgufModel:
    """The Hugging Face view of a GGUF file.

    config: as config.json holds it. tensors: under Hugging Face names, float32, read one at a time from the
    mapped file. tokenizer: the files to build it from, or to write into a folder.
    """

    config: dict[str, Any]
    tensors: GgufTensors
    tokenizer: TokenizerFiles
    defaults: GenerationDefaults


def open_gguf(path: Path) -> GgufModel:
    """Open a GGUF file of a Llama, Qwen 2 or Qwen 3.

    Raises `CheckpointError` for a file that is damaged, contradicts itself or is beyond what can be read.
    """
    header = read_header(path)
    config = read_config(header)
    return GgufModel(config, GgufTensors(header, config), read_tokenizer(header), read_advice(header))


def read_advice(header: Header) -> GenerationDefaults:
    """What the maker of the file advises for sampling."""
    values = {key: header.metadata.get(f"general.sampling.{theirs}") for key, theirs in ADVICE.items()}
    try:
        return GenerationDefaults.model_validate(values)
    except ValidationError as error:
        key = ADVICE[str(error.errors()[0]["loc"][0])]
        raise damaged(
            header.path, f"general.sampling.{key} is no number", f"general.sampling.{key} 不是数值"
        ) from error
