"""What an adapter adds to its base: the settings of each kind."""

from typing import Annotated

from pydantic import Field

from hanlin.base.config import Settings

ALL_LINEAR = "all-linear"


class AdapterConfig(Settings):
    """What adapters of every kind can have."""

    whole: tuple[str, ...] = ()
    """Linear layers that the adapter replaces by trained copies of its own, such as a new head."""


class LoraConfig(AdapterConfig):
    """Low-rank changes of linear layers: LoRA (arXiv 2106.09685), rsLoRA (2312.03732), DoRA (2402.09353)."""

    layers: tuple[str, ...] = Field((ALL_LINEAR,), min_length=1)
    """Ends of the layers' names: attention.query, ffn.up, experts.down, blocks.3.attention.key, ...; all-linear:
    every linear layer of the blocks but the routers of experts."""
    blocks: tuple[int, ...] | None = None
    """Only the layers of these blocks; null: of all."""
    rank: int = Field(8, ge=1)
    """Rank of the change."""
    alpha: float = Field(16.0, gt=0, allow_inf_nan=False)
    """The change is multiplied by alpha / rank; with rslora by alpha / sqrt(rank)."""
    ranks: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)
    """Ranks of single layers, by name as in `layers`; the first that fits counts."""
    alphas: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(default_factory=dict)
    """The same for alpha."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the change's inputs dropped while training."""
    rslora: bool = False
    """Whether the change is scaled so that its size does not fall with the rank."""
    dora: bool = False
    """Whether the length of each row of the changed weight is trained by itself."""


class PromptConfig(AdapterConfig):
    """Prompt tuning (arXiv 2104.08691): trained embeddings that stand before the input's."""

    length: int = Field(20, ge=1)
    """Number of virtual tokens."""


class PrefixConfig(AdapterConfig):
    """Prefix tuning (arXiv 2101.00190): trained keys and values that stand before the tokens' in every block."""

    length: int = Field(20, ge=1)
    """Number of virtual tokens."""
