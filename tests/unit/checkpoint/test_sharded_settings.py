"""A checkpoint in parts opens with all its settings, in families whose settings hang on the names of tensors too."""

import json
from pathlib import Path

import pytest

from hanlin.base.manifest import write_manifest
from hanlin.checkpoint.families.bert import BERT
from hanlin.checkpoint.family import Family
from hanlin.checkpoint.recognize import read_config
from hanlin.checkpoint.tensor_files import SHARDS
from hanlin.model.config import CoreConfig

SHAPE = {"vocab_size": 300, "width": 32, "layers": 2, "heads": 4, "window": 32}


@pytest.mark.parametrize(
    ("family", "settings"),
    [(BERT, {"style": "bert", "head": "pretraining"}), (BERT, {"style": "bert"})],
)
def test_settings_come_from_the_manifest(tmp_path: Path, family: Family, settings: dict[str, object]) -> None:
    config = CoreConfig.model_validate({**SHAPE, **settings})
    values = {**family.write(config), "model_type": family.name}
    (tmp_path / "config.json").write_text(json.dumps(values), "utf-8")
    (tmp_path / SHARDS).mkdir()
    write_manifest(tmp_path, "checkpoint", {"model": config.model_dump(mode="json")}, {})
    assert read_config(tmp_path) == (family, config)
