"""A model in memory, with its tokenizer and advice, as one GGUF file."""

from pathlib import Path
from tempfile import TemporaryDirectory

from hanlin.checkpoint.defaults import GenerationDefaults
from hanlin.checkpoint.family import Family, express
from hanlin.checkpoint.gguf.quants import Quantization
from hanlin.checkpoint.gguf.write import write_gguf
from hanlin.checkpoint.gguf.write_vocabulary import OnMismatch
from hanlin.checkpoint.weights import HeldTensors
from hanlin.model.assemble import Model
from hanlin.tokenizer.tokenizer import Tokenizer


def write_model_gguf(
    path: Path,
    model: Model,
    tokenizer: Tokenizer,
    defaults: GenerationDefaults,
    family: Family,
    kind: Quantization,
    on_mismatch: OnMismatch,
) -> None:
    """Write `path`, whole or not at all. family: that which the model was read from. Raises as `write_gguf`."""
    values = express(model.config, family)
    assert values is not None, "what was read from a family can be written in it"
    config = {"model_type": family.name, **values}
    with TemporaryDirectory() as folder:
        tokenizer.save(Path(folder))
        tensors = HeldTensors(model, family)
        write_gguf(path, config, tensors, Path(folder), kind, defaults=defaults, on_mismatch=on_mismatch)
