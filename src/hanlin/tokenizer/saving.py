"""Writing a trained tokenizer as a folder that Hanlin and `transformers` open."""

import json
from pathlib import Path
from typing import Any

import tokenizers

from hanlin.base.files import write_text
from hanlin.tokenizer.chat import CHATML
from hanlin.tokenizer.folder import DEFINITION, TEMPLATE
from hanlin.tokenizer.special import SPECIAL_TOKENS, ModelName


def save_tokenizer(trained: tokenizers.Tokenizer, model: ModelName, folder: Path) -> None:
    """Write `tokenizer.json`, `tokenizer_config.json` and, where the special tokens have turns, the chat
    template."""
    special = SPECIAL_TOKENS[model]
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **{f"{role}_token": text for role, text in special.roles.items()},
        "clean_up_tokenization_spaces": False,
    }
    if "sep" in special.roles:  # `transformers` gives no segments unless it is told to
        settings["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]
    write_text(folder / DEFINITION, trained.to_str(pretty=True) + "\n")
    write_text(folder / "tokenizer_config.json", json.dumps(settings, indent=1) + "\n")
    if "<|im_start|>" in special.ordered:
        write_text(folder / TEMPLATE, CHATML)
