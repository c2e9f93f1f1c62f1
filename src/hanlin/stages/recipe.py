"""`Recipe`: everything that a run needs to know, and where its folders are."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import ConfigDict, Field, model_validator

from hanlin.base.config import Settings, read_settings
from hanlin.checkpoint.defaults import GenerationDefaults
from hanlin.corpus.config import CorpusConfig, FilesSource
from hanlin.evaluate.config import EvaluateConfig
from hanlin.evaluate.ladder import LadderConfig
from hanlin.model.config import CoreConfig
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.trainer.config import PretrainConfig
from hanlin.trainer.sweep import SweepConfig


class GenerationSettings(GenerationDefaults):
    """The `generation:` section: advice that travels with the model."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Recipe(Settings):
    """One life of a model, from sources to a served folder. A recipe file says only what differs."""

    folder: Path
    """Where every stage writes its folder."""
    corpus: CorpusConfig
    """Sources of text and what is done to it."""
    tokenizer: TokenizerConfig = TokenizerConfig()
    """How the tokenizer is trained."""
    model: CoreConfig = Field(default_factory=lambda: CoreConfig.model_validate({}))
    """The shape of the model."""
    pretrain: PretrainConfig = PretrainConfig()
    """How it is trained."""
    generation: GenerationSettings = GenerationSettings(temperature=0.8, top_p=0.95)
    """Generation defaults that travel with the model."""
    evaluate: EvaluateConfig = EvaluateConfig()
    """How it is examined."""
    ladder: LadderConfig = LadderConfig()
    """What `hanlin ladder` holds it against, and under which budget."""
    sweep: SweepConfig = SweepConfig()
    """Which settings `hanlin sweep` tries."""

    @model_validator(mode="after")
    def _reads_nothing_of_its_own(self) -> Self:
        for source in self.corpus.sources:
            root = Path(source.path).expanduser().resolve() if isinstance(source, FilesSource) else None
            if root is None or not self.folder.resolve().is_relative_to(root):
                continue
            inside = self.folder.resolve().relative_to(root)
            if not any(part.startswith(".") for part in inside.parts):
                raise ValueError(
                    f"folder {self.folder} lies inside the source {root}: the corpus would read what the run "
                    "wrote; choose a folder outside of it"
                )
        return self

    @property
    def places(self) -> "Places":
        """The folders of this recipe's stages."""
        return Places(self.folder)

    def dump(self, section: str) -> dict[str, Any]:
        """One section as JSON-like values."""
        part: dict[str, Any] = self.model_dump(mode="json")[section]
        return part


class Places:
    """The folders that the stages of a run write, all inside one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.corpus = folder / "corpus"
        self.tokenizer = folder / "tokenizer"
        self.tokens = folder / "tokens"
        self.pretrain = folder / "pretrain"
        self.model = folder / "pretrain" / "model"
        self.evaluate = folder / "evaluate"
        self.report = folder / "report.html"
        self.ladder = folder / "ladder"
        self.sweep = folder / "sweep"


def read_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read and check a recipe; raises `ConfigError` that names file, line and the nearest key."""
    return read_settings(Recipe, path, overrides)
