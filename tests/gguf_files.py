"""Small GGUF files for tests: tiny random weights, a tokenizer that is trained on the spot."""

import json
from pathlib import Path

import tokenizers
import torch
from tokenizers import decoders, models, normalizers, trainers

from hanlin.checkpoint.gguf.names import expected_shapes
from hanlin.checkpoint.gguf.settings import complete_config
from hanlin.checkpoint.gguf.write import write_gguf
from hanlin.tokenizer.bpe import save_trained, train_bpe
from hanlin.tokenizer.config import TokenizerConfig

TEXT = "The scholars read <|endoftext|> histories in 1723: 翰林院的学士们读史书。 😀\n"
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}


class Held(dict):
    """Tensors in memory, as a source to write from."""

    def shape(self, name):
        return list(self[name].shape)

    def load(self, name):
        return self[name]


def small_config(kind="llama", **changes):
    """config.json of a model whose every width differs from every other."""
    values = {
        "model_type": kind,
        "vocab_size": 300,
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "intermediate_size": 96,
        "max_position_embeddings": 128,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": False,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    }
    return values | changes


def random_weights(config, seed=0):
    """Weights that are exact in float16, so that F16 files lose nothing."""
    generator = torch.Generator().manual_seed(seed)
    shapes = expected_shapes(complete_config(config))
    return Held({
        name: torch.randn(shape, generator=generator).mul(0.3).half().float() for name, shape in shapes.items()
    })  # fmt: skip


def save_tokenizer(folder: Path, pattern="llama3", vocab_size=290) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    save_trained(train_bpe([TEXT] * 4, TokenizerConfig(vocab_size=vocab_size, pattern=pattern)), folder)
    return folder


def save_pieces(folder, prefix=True):
    """A SentencePiece kind of BPE: spaces are pieces, unknown characters are spelt in bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    built = tokenizers.Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    steps = [normalizers.Prepend("▁")] if prefix else []
    built.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "▁")])
    strip = [decoders.Strip(" ", 1, 0)] if prefix else []
    built.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    specials = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=specials, show_progress=False, limit_alphabet=20
    )
    built.train_from_iterator([TEXT.replace("<|endoftext|>", "")] * 4, trainer)
    definition = json.loads(built.to_str())
    definition["added_tokens"] = definition["added_tokens"][:3]  # bytes are ordinary tokens
    (folder / "tokenizer.json").write_text(json.dumps(definition))
    settings = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def write_small(path: Path, config=None, kind="F32", **options) -> Held:
    """Write a model of random weights, with the tokenizer beside it; returns the weights."""
    config = config or small_config()
    weights = random_weights(config)
    write_gguf(path, config, weights, save_tokenizer(path.parent / "tokenizer"), kind, **options)
    return weights
