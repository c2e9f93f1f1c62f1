"""`CoreConfig`: every architecture of the one Transformer core, as orthogonal settings."""

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from hanlin.base.config import Settings

STYLES: dict[str, dict[str, Any]] = {
    "llama": {
        "position": "rotary",
        "norm": "rms",
        "activation": "silu",
        "gated": True,
        "bias": False,
    },
    "gpt2": {
        "position": "learned",
        "norm": "layer",
        "activation": "gelu_tanh",
        "gated": False,
        "bias": True,
        "tied": True,
    },
}
"""What `style: gpt2` or `style: llama` in a recipe stands for; each setting can still be given beside it."""


class CoreConfig(Settings):
    """The shape of a model. Whatever is not given follows from width and style."""

    shorthands: ClassVar[tuple[str, ...]] = ("style",)

    vocab_size: int = Field(0, ge=0)
    """Rows of the embedding; 0 in a recipe means that the tokenizer decides."""
    width: int = Field(256, ge=1)
    """Length of the vector that stands for one token."""
    layers: int = Field(4, ge=1)
    """Number of blocks."""
    heads: int = Field(4, ge=1)
    """Number of query heads."""
    kv_heads: int = Field(4, ge=1)
    """Number of key and value heads; default: as many as query heads."""
    head_size: int = Field(64, ge=1)
    """Length of one head's vector; default: width / heads."""
    ffn_width: int = Field(1024, ge=1)
    """Inner width of the feed-forward layer; default: 4 x width, or 8/3 x width rounded up to 64 if gated."""
    window: int = Field(512, ge=2)
    """The longest input, in tokens."""
    position: Literal["rotary", "learned"] = "rotary"
    """How order is seen: rotary (arXiv 2104.09864) or a learned table added to the embeddings."""
    rope_theta: float = Field(10000.0, gt=1)
    """Base of the rotary wavelengths."""
    norm: Literal["rms", "layer"] = "rms"
    """RMSNorm (arXiv 1910.07467) or LayerNorm (arXiv 1607.06450), before each sub-layer."""
    norm_eps: float = Field(1e-5, gt=0, lt=1)
    """Added to the variance in norms."""
    activation: Literal["silu", "gelu", "gelu_tanh", "relu"] = "silu"
    """Non-linearity of the feed-forward layer."""
    gated: bool = True
    """Whether the feed-forward layer is gated (GLU variants, arXiv 2002.05202)."""
    bias: bool = False
    """Whether linear layers have biases."""
    tied: bool = True
    """Whether the output head shares the embedding's weights (arXiv 1608.05859)."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of residual and attention values dropped while training."""

    @model_validator(mode="before")
    @classmethod
    def _derive(cls, values: Any) -> Any:
        """Expand `style` and fill what follows from other settings; wrong types are left to the fields."""
        if not isinstance(values, dict):
            return values
        given = dict(values)
        style = given.pop("style", "llama")
        if not isinstance(style, str) or style not in STYLES:
            raise ValueError(f"style {style!r} is not known; choose one of {', '.join(STYLES)}")
        given = {**STYLES[style], **given}
        width, heads = given.get("width", 256), given.get("heads", 4)
        if isinstance(width, int) and isinstance(heads, int) and heads > 0:
            if "head_size" not in given and width % heads:
                raise ValueError(f"width {width} is not divisible by heads {heads}")
            given.setdefault("head_size", max(1, width // heads))
            given.setdefault("kv_heads", heads)
            given.setdefault("ffn_width", -(-8 * width // (3 * 64)) * 64 if given.get("gated") else 4 * width)
        return given

    @model_validator(mode="after")
    def _consistent(self) -> "CoreConfig":
        if self.heads % self.kv_heads:
            raise ValueError(f"heads {self.heads} is not divisible by kv_heads {self.kv_heads}")
        if self.position == "rotary" and self.head_size % 2:
            raise ValueError(f"head_size {self.head_size} is odd; rotary positions turn pairs of values")
        return self
