"""A model that knows nothing yet: its tokenizer comes from the task's texts, and the same texts give the same model."""

import pytest
import torch

from hanlin.base.device import Compute
from hanlin.base.errors import DataError
from hanlin.base.records import Written
from hanlin.checkpoint.folder import open_model
from hanlin.model.seq2seq import Seq2Seq
from hanlin.stages.new_model import NewModel, make_new_model
from hanlin.tasks.write import Write

CPU = Compute(torch.device("cpu"), torch.float32)
RECORDS = [
    Written(source=f"A red dog number {number}", targets=(f"Ein roter Hund Nummer {number}",))
    for number in range(40)
]
NEW = NewModel.model_validate(
    {
        "tokenizer": {"vocab_size": 290},
        "model": {"style": "transformer", "width": 16, "layers": 1, "heads": 2},
    }
)


def test_the_vocabulary_is_that_of_the_task(tmp_path):
    task = Write(lowercase=True)
    make_new_model(NEW, task.texts(RECORDS), tmp_path / "new")
    model, tokenizer, _ = open_model(tmp_path / "new", CPU)
    assert isinstance(model, Seq2Seq)
    assert model.config.vocab_size == tokenizer.vocab_size == 290
    assert len(tokenizer.encode("ein roter hund nummer")) < 0.7 * len(
        tokenizer.encode("EIN ROTER HUND NUMMER")
    )


def test_the_same_texts_and_settings_give_the_same_model_and_others_another(tmp_path):
    def made(folder, config=NEW, records=RECORDS, **more):
        make_new_model(config, Write().texts(records), tmp_path / folder, **more)
        return (tmp_path / folder / "model.safetensors").read_bytes()

    first = made("a")
    assert made("b") == first
    written = (tmp_path / "a" / "model.safetensors").stat().st_mtime_ns
    assert made("a") == first
    assert (tmp_path / "a" / "model.safetensors").stat().st_mtime_ns == written, (
        "what is there is not made again"
    )
    assert made("a", seed=1) != first
    wider = NEW.model_copy(update={"model": NEW.model.model_copy(update={"ffn_width": 80})})
    assert made("b", wider) != first
    made("c", records=[*[Written(source="zzyzx", targets=("qwq",))] * 50, *RECORDS])
    vocabularies = [(tmp_path / folder / "tokenizer.json").read_bytes() for folder in ("a", "b", "c")]
    assert vocabularies[0] == vocabularies[1] != vocabularies[2]


def test_too_few_texts_are_refused(tmp_path):
    with pytest.raises(DataError):
        make_new_model(NEW, ["a"], tmp_path / "new")
    assert not (tmp_path / "new").exists()
