"""Generation defaults that travel with a model: `generation_config.json`."""

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from hanlin.base.config import mistakes
from hanlin.base.errors import CheckpointError
from hanlin.base.language import Text

NAME = "generation_config.json"


class GenerationDefaults(BaseModel):
    """What the model's maker advises; the user's settings come first. Other keys of the file are not ours."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    max_new_tokens: int | None = None


def read_defaults(folder: Path) -> GenerationDefaults:
    """The defaults of a model folder; a folder without the file advises nothing.

    Raises `CheckpointError` when the file is damaged.
    """
    path = folder / NAME
    if not path.is_file():
        return GenerationDefaults()
    try:
        values = json.loads(path.read_text("utf-8"))
        if isinstance(values, dict) and values.get("do_sample") is False:
            values["temperature"] = 0.0  # the ecosystem's word for greedy
        return GenerationDefaults.model_validate(values)
    except ValueError as error:
        reason = mistakes(error) if isinstance(error, ValidationError) else Text(str(error), str(error))
        raise CheckpointError(
            Text(f"{path} is damaged: {reason.en}", f"{path} 已损坏：{reason.zh}"),
            Text("Mend it, or delete it: it holds only advice.", "请修复或删除该文件：其中只有建议值。"),
        ) from error


def write_defaults(
    folder: Path,
    defaults: GenerationDefaults,
    stop_ids: frozenset[int],
    pad_id: int | None,
    start_id: int | None = None,
) -> None:
    """Write the defaults with the ids that end a text and, for an encoder-decoder, the one that begins it."""
    values: dict[str, Any] = defaults.model_dump(exclude_none=True)
    values["do_sample"] = values.get("temperature", 1.0) > 0
    if not values["do_sample"]:
        del values["temperature"]
    stops = sorted(stop_ids)
    values["eos_token_id"] = stops[0] if len(stops) == 1 else stops
    if pad_id is not None:
        values["pad_token_id"] = pad_id
    if start_id is not None:
        values["decoder_start_token_id"] = start_id
    (folder / NAME).write_text(json.dumps(values, indent=1) + "\n", "utf-8")
