"""`CoreConfig`: every architecture of the one Transformer core, as orthogonal settings."""

from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from hanlin.base.config import Settings

STYLES: dict[str, dict[str, Any]] = {
    "llama": {"position": "rotary", "norm": "rms", "activation": "silu", "gated": True, "bias": False},
    "gpt2": {
        "position": "learned",
        "norm": "layer",
        "activation": "gelu_tanh",
        "gated": False,
        "bias": True,
        "tied": True,
    },
    "bert": {
        "assembly": "encoder",
        "position": "learned",
        "norm": "layer",
        "norm_placement": "post",
        "embedding_norm": True,
        "activation": "gelu",
        "gated": False,
        "bias": True,
        "head_bias": True,
        "segments": 2,
        "tied": True,
    },
    "transformer": {
        "assembly": "seq2seq",
        "position": "sinusoidal",
        "norm": "layer",
        "norm_placement": "post",
        "activation": "relu",
        "gated": False,
        "bias": True,
        "tied": True,
    },
}
"""What `style: bert` in a recipe stands for; each setting can still be given beside it. `transformer` is the
encoder-decoder of arXiv 1706.03762; its scaled embeddings follow from the width."""

Assembly = Literal["decoder", "encoder", "seq2seq"]
Pattern = Literal["full", "sliding", "block", "global"]
Head = Literal["none", "lm", "masked", "pretraining", "classify", "tag", "span", "regress"]

_HEADS: dict[str, tuple[str, ...]] = {
    "decoder": ("lm", "none", "classify", "tag", "span", "regress"),
    "encoder": ("masked", "none", "pretraining", "classify", "tag", "span", "regress"),
    "seq2seq": ("lm",),
}
"""The heads that each assembly can have, the usual one first."""


MOST = 2**31 - 1
"""The greatest whole number that a setting can be."""


class Shape(Settings):
    """Settings that are what they say: no text or fraction for a whole number, and numbers that tensors can have."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _bounded(cls, value: Any) -> Any:
        if isinstance(value, int) and value > MOST:
            raise ValueError(f"must be at most {MOST}")
        return value


class RopeScaling(Shape):
    """How rotary wavelengths are stretched so that a model reads further than it was trained to."""

    kind: Literal["linear", "llama3", "yarn"]
    """Position interpolation (arXiv 2306.15595), Llama 3's by wavelength, or YaRN (arXiv 2309.00071)."""
    factor: float = Field(ge=1)
    """How many times longer the window becomes."""
    original_window: int | None = Field(None, ge=2)
    """The window of the first training: llama3 and yarn measure wavelengths against it."""
    low_freq_factor: float = Field(1.0, gt=0)
    """llama3: wavelengths beyond original_window / this are stretched whole."""
    high_freq_factor: float = Field(4.0, gt=0)
    """llama3: wavelengths below original_window / this stay."""
    beta_fast: float = Field(32.0, gt=0)
    """yarn: pairs that turn more often than this within original_window stay."""
    beta_slow: float = Field(1.0, gt=0)
    """yarn: pairs that turn less often than this are stretched whole."""
    attention_factor: float | None = Field(None, gt=0)
    """yarn: cosines and sines are multiplied by it; default 0.1 ln(factor) + 1."""
    truncate: bool = True
    """yarn: whether the bounds of the ramp are rounded outwards to whole pairs."""

    @model_validator(mode="after")
    def _consistent(self) -> "RopeScaling":
        if self.kind != "linear" and self.original_window is None:
            raise ValueError(f"rope_scaling {self.kind} needs original_window")
        if self.kind == "llama3" and self.high_freq_factor <= self.low_freq_factor:
            raise ValueError("high_freq_factor must be above low_freq_factor")
        if self.kind == "yarn" and self.beta_fast <= self.beta_slow:
            raise ValueError("beta_fast must be above beta_slow")
        return self


class CoreConfig(Shape):
    """The shape of a model. Whatever is not given follows from width, assembly and style."""

    shorthands: ClassVar[tuple[str, ...]] = ("style", "bias")

    assembly: Assembly = "decoder"
    """Decoder-only, encoder-only, or encoder-decoder with cross-attention."""
    vocab_size: int = Field(0, ge=0)
    """Rows of the embedding; 0 in a recipe means that the tokenizer decides."""
    width: int = Field(256, ge=1)
    """Length of the vector that stands for one token."""
    layers: int = Field(4, ge=1, le=10_000)
    """Number of blocks; of the encoder, where there are two stacks."""
    decoder_layers: int = Field(4, ge=1, le=10_000)
    """Number of blocks of the decoder of an encoder-decoder; default: layers."""
    heads: int = Field(4, ge=1)
    """Number of query heads."""
    kv_heads: int = Field(4, ge=1)
    """Number of key and value heads (arXiv 2305.13245); default: as many as query heads; 1 is multi-query."""
    head_size: int = Field(64, ge=1)
    """Length of one head's vector; default: width / heads."""
    ffn_width: int = Field(1024, ge=1)
    """Inner width of the feed-forward layer; default: 4 x width, or 8/3 x width rounded up to 64 if gated."""
    window: int = Field(512, ge=2)
    """The longest input, in tokens."""

    position: Literal["rotary", "learned", "sinusoidal", "relative", "alibi", "none"] = "rotary"
    """How order is seen: rotary (arXiv 2104.09864), a learned or a sinusoidal (arXiv 1706.03762) table added to
    the embeddings, T5's relative bias (arXiv 1910.10683), ALiBi (arXiv 2108.12409), or only by the causal mask."""
    position_offset: int = Field(0, ge=0)
    """Rows of the learned table before that of the first position (RoBERTa and BART leave two)."""
    position_pairs: Literal["halves", "neighbours"] = "halves"
    """Which two values of a vector share a wavelength: i and i + half, or 2i and 2i + 1.
    Default: halves if rotary, neighbours if sinusoidal."""
    rope_theta: float = Field(10000.0, gt=1)
    """Base of the rotary wavelengths."""
    rope_theta_local: float | None = Field(None, gt=1)
    """Base in sliding layers, which then are not scaled; default: the same as elsewhere."""
    rope_scaling: RopeScaling | None = None
    """Stretched wavelengths."""
    rotary_share: float = Field(1.0, gt=0, le=1)
    """Share of each head that turns."""
    relative_buckets: int = Field(32, ge=4)
    """Distances that relative bias tells apart."""
    relative_max_distance: int = Field(128, ge=2)
    """Beyond it all distances share one bucket."""

    norm: Literal["rms", "layer"] = "rms"
    """RMSNorm (arXiv 1910.07467) or LayerNorm (arXiv 1607.06450)."""
    norm_eps: float = Field(1e-5, gt=0, lt=1)
    """Added to the variance in norms."""
    norm_bias: bool = False
    """Whether LayerNorm adds a bias; default: yes."""
    norm_unit_offset: bool = False
    """Whether RMSNorm multiplies by 1 + weight (Gemma) instead of weight."""
    norm_placement: Literal["pre", "post", "sandwich"] = "pre"
    """Before each sub-layer, after each residual sum (arXiv 2002.04745), or before and after each sub-layer.
    Post-norm needs a warm-up to train."""
    embedding_norm: bool = False
    """Whether embeddings are normalised; a pre-norm model then has no norm before its first attention."""
    qk_norm: bool = False
    """Whether each head's queries and keys are normalised (arXiv 2010.04245)."""

    activation: Literal["silu", "gelu", "gelu_tanh", "relu"] = "silu"
    """Non-linearity of the feed-forward layer."""
    gated: bool = True
    """Whether the feed-forward layer is gated (GLU variants, arXiv 2002.05202)."""
    experts: int = Field(0, ge=0)
    """Feed-forward layers to choose from (mixture of experts, arXiv 2101.03961); 0: one, always."""
    experts_per_token: int = Field(2, ge=1)
    """How many experts each token goes through."""
    expert_width: int = Field(1024, ge=1)
    """Inner width of one expert; default: ffn_width."""
    router_normalize: bool = True
    """Whether the chosen experts' weights are made to sum to one."""
    router_loss: float = Field(0.0, ge=0)
    """Weight of the loss that keeps experts equally busy."""
    dense_layers: tuple[int, ...] = Field((), strict=False)
    """Blocks that keep a plain feed-forward layer among experts."""

    qkv_bias: bool = False
    """Whether queries, keys and values have biases."""
    output_bias: bool = False
    """Whether the attention's output has a bias."""
    ffn_bias: bool = False
    """Whether feed-forward layers have biases."""
    head_bias: bool = False
    """Whether the output over the vocabulary has a bias."""
    tied: bool = True
    """Whether the output head shares the embedding's weights (arXiv 1608.05859)."""

    attention: tuple[Pattern, ...] = Field(("full",), min_length=1, strict=False)
    """What the blocks' attention sees, repeated over the blocks: full; sliding: the nearest attention_window
    tokens (arXiv 2004.05150); block: its own block of attention_window tokens and the last global_tokens of
    earlier ones (arXiv 1904.10509, fixed); global: sliding, and the first global_tokens see and are seen by all."""
    attention_window: int | None = Field(None, ge=1)
    """Tokens that a sliding query sees to each side, itself included; the block size of block."""
    global_tokens: int = Field(0, ge=0)
    """Tokens that block and global patterns make visible to all."""
    attention_scale: float | None = Field(None, gt=0)
    """Scores are multiplied by it; null: 1 / sqrt(head_size)."""
    attention_softcap: float | None = Field(None, gt=0)
    """Scores s become cap x tanh(s / cap) (arXiv 2408.00118)."""
    logit_softcap: float | None = Field(None, gt=0)
    """The same for the output's logits."""
    embedding_scale: float = Field(1.0, gt=0)
    """Token embeddings are multiplied by it; default: 1, sqrt(width) in the `transformer` style."""
    head_scale: float = Field(1.0, gt=0)
    """The last hidden state is multiplied by it before a tied head (T5)."""
    segments: int = Field(0, ge=0)
    """Kinds of segment embeddings (BERT's two sentences); 0: none."""

    head: Head = "lm"
    """What the model ends in: next token, masked token, BERT's two pre-training heads, labels for the text or
    for each token, how well a span begins and ends at each token, one number, or nothing. Default: lm, or masked for an
    encoder."""
    labels: int = Field(0, ge=0)
    """Number of labels of classify and tag; default: as many as label_names."""
    label_names: tuple[str, ...] = Field((), strict=False)
    """What the labels, or the one number of regress, are called."""
    multi_label: bool = False
    """Whether a text can have several labels of classify, each judged alone by a sigmoid."""
    crf: bool = False
    """Whether tag also has scores for one label after another, so that the labels of a text are judged as a whole (linear-chain
    CRF, arXiv 1603.01360, section 2.2)."""
    pooling: Literal["first", "last", "mean"] = "first"
    """Which hidden state stands for a text; default: first, or last in a decoder."""
    pooler: Literal["none", "tanh", "transform"] = "none"
    """What is done to it (to every hidden state, before tag): nothing, tanh(W h) as in BERT, or the masked head's
    transform. Default: tanh where an encoder's head judges whole texts."""

    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of residual values dropped while training."""
    attention_dropout: float = Field(0.0, ge=0, lt=1)
    """Share of attention weights dropped while training; default: dropout."""

    @model_validator(mode="before")
    @classmethod
    def _derive(cls, values: Any) -> Any:
        """Expand `style` and `bias` and fill what follows from others; wrong types are left to the fields."""
        if not isinstance(values, dict):
            return values
        given = dict(values)
        style = given.pop("style", "llama")
        if not isinstance(style, str) or style not in STYLES:
            raise ValueError(f"style {style!r} is not known; choose one of {', '.join(STYLES)}")
        given = {**STYLES[style], **given}
        bias = given.pop("bias")
        for name in ("qkv_bias", "output_bias", "ffn_bias"):
            given.setdefault(name, bias)
        assembly = given.setdefault("assembly", "decoder")
        given.setdefault("norm_bias", given.get("norm") == "layer")
        given.setdefault(
            "position_pairs", "neighbours" if given.get("position") == "sinusoidal" else "halves"
        )
        given.setdefault("pooling", "last" if assembly == "decoder" else "first")
        if isinstance(assembly, str) and assembly in _HEADS:
            head = given.setdefault("head", _HEADS[assembly][0])
            judges = assembly == "encoder" and head in ("pretraining", "classify", "regress")
            given.setdefault("pooler", "tanh" if judges else "none")
            if head != "regress" and isinstance(given.get("label_names"), list | tuple):
                given.setdefault("labels", len(given["label_names"]))
        for name, source in (("decoder_layers", "layers"), ("attention_dropout", "dropout")):
            if source in given:
                given.setdefault(name, given[source])
        return _derive_widths(given, style)

    @model_validator(mode="after")
    def _consistent(self) -> "CoreConfig":
        for problem in _contradictions(self):
            raise ValueError(problem)
        return self

    @property
    def rotary_size(self) -> int:
        """How many values of each head turn."""
        return int(self.head_size * self.rotary_share)

    @property
    def cached_layers(self) -> int:
        """How many blocks keep keys and values while text is made."""
        return self.decoder_layers if self.assembly == "seq2seq" else self.layers

    def pattern(self, layer: int) -> Pattern:
        """What the attention of block `layer` sees."""
        return self.attention[layer % len(self.attention)]


def _derive_widths(given: dict[str, Any], style: str) -> dict[str, Any]:
    width, heads = given.get("width", 256), given.get("heads", 4)
    if all(isinstance(value, int) and 0 < value <= MOST for value in (width, heads)):
        if "head_size" not in given and width % heads:
            raise ValueError(f"width {width} is not divisible by heads {heads}")
        given.setdefault("head_size", max(1, width // heads))
        given.setdefault("kv_heads", heads)
        given.setdefault("ffn_width", -(-8 * width // (3 * 64)) * 64 if given.get("gated") else 4 * width)
        if style == "transformer":
            given.setdefault("embedding_scale", width**0.5)
    if "ffn_width" in given:
        given.setdefault("expert_width", given["ffn_width"])
    return given


def _contradictions(config: CoreConfig) -> list[str]:
    """What in a configuration can not be together, each as a sentence."""
    allowed = _HEADS[config.assembly]
    sparse = set(config.attention) - {"full"}
    rules = [
        (config.heads % config.kv_heads != 0,
         f"heads {config.heads} is not divisible by kv_heads {config.kv_heads}"),
        (config.position == "rotary" and (config.rotary_size < 2 or config.rotary_size % 2 != 0),
         f"head_size {config.head_size} (rotary_share {config.rotary_share:g}) gives {config.rotary_size} values to "
         "turn; rotary positions turn pairs"),
        (config.position != "rotary" and (config.rope_scaling is not None or config.rope_theta_local is not None),
         "rope_scaling and rope_theta_local need position rotary"),
        (config.position_offset > 0 and config.position != "learned", "position_offset needs position learned"),
        (config.norm == "rms" and config.norm_bias, "norm_bias needs norm layer: RMSNorm has no bias"),
        (config.norm == "layer" and config.norm_unit_offset, "norm_unit_offset needs norm rms"),
        (bool(sparse) and config.attention_window is None,
         f"attention {'/'.join(sorted(sparse))} needs attention_window"),
        (bool(sparse & {"block", "global"}) and config.global_tokens == 0,
         f"attention {'/'.join(sorted(sparse & {'block', 'global'}))} needs global_tokens"),
        ("block" in sparse and config.attention_window is not None and config.global_tokens > config.attention_window,
         f"global_tokens {config.global_tokens} is more than a block of attention_window {config.attention_window}"),
        (config.position == "relative" and config.relative_max_distance <= config.relative_buckets // 2,
         f"relative_max_distance {config.relative_max_distance} must be above half of relative_buckets"),
        (0 < config.experts < config.experts_per_token,
         f"experts_per_token {config.experts_per_token} is more than experts {config.experts}"),
        (any(not 0 <= layer < max(config.layers, config.decoder_layers) for layer in config.dense_layers),
         f"dense_layers {', '.join(map(str, config.dense_layers))} are not all among the blocks: the first is 0"),
        (config.head not in allowed,
         f"head {config.head} does not fit assembly {config.assembly}; choose one of {', '.join(allowed)}"),
        (config.head in ("classify", "tag") and config.labels < 1, f"head {config.head} needs labels"),
        (bool(config.label_names) and len(config.label_names) != (1 if config.head == "regress" else config.labels),
         f"label_names {', '.join(config.label_names)} are not as many as labels {config.labels}"),
        (config.multi_label and config.head != "classify", "multi_label needs head classify"),
        (config.crf and config.head != "tag", "crf needs head tag"),
        (config.pooler == "tanh" and config.assembly != "encoder", "pooler tanh needs assembly encoder"),
        (config.pooler != "none" and config.head in ("lm", "masked"), f"head {config.head} has no use for a pooler"),
        (config.head_scale != 1 and not config.tied, "head_scale needs tied: it makes up for a shared embedding"),
    ]  # fmt: skip
    return [problem for broken, problem in rules if broken]
