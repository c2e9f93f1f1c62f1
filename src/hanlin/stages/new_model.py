"""A model that knows nothing yet, for a task that is learned from random weights: its tokenizer comes from the task's texts."""

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from hanlin.base.config import Settings
from hanlin.base.manifest import NAME, Manifest, fingerprint, read_manifest
from hanlin.base.seeds import seed_everything
from hanlin.checkpoint.defaults import GenerationDefaults
from hanlin.checkpoint.folder import save_model
from hanlin.model.assemble import build_model
from hanlin.model.config import CoreConfig
from hanlin.stages.current import current_manifest
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.train import train_on


class NewModel(Settings):
    """A tokenizer and the shape of a model."""

    tokenizer: TokenizerConfig = TokenizerConfig()
    """One vocabulary for all that is read and written."""
    model: CoreConfig = CoreConfig.model_validate({"style": "transformer"})
    """The shape; its vocabulary is that of the tokenizer."""


def make_new_model(config: NewModel, texts: Iterable[str], folder: Path, seed: int = 0) -> Manifest:
    """Write a model folder with random weights and a tokenizer trained on `texts`, unless that very one is there.

    Raises `DataError` where the texts yield fewer tokens than `tokenizer.vocab_size`.
    """
    texts = list(texts)
    settings = config.model_dump(mode="json")
    inputs = {"texts": fingerprint({"texts": texts}), "settings": fingerprint({**settings, "seed": seed})}
    if (folder / NAME).is_file():
        found = current_manifest(folder, "model", read_manifest(folder, "model").config, inputs)
        if found is not None:
            return found
    with TemporaryDirectory() as place:
        tokenizer = train_on(texts, config.tokenizer, Path(place))
    seed_everything(seed)
    model = build_model(config.model.model_copy(update={"vocab_size": tokenizer.vocab_size}))
    return save_model(folder, model, tokenizer, GenerationDefaults(), inputs, {"steps": 0})
