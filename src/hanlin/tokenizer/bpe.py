"""Byte-level BPE, trained through the `tokenizers` library."""

from collections.abc import Iterable
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, processors, trainers

from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.patterns import PATTERNS
from hanlin.tokenizer.saving import save_tokenizer
from hanlin.tokenizer.vocabulary import check_size, not_empty


def untrained_bpe(config: TokenizerConfig) -> tokenizers.Tokenizer:
    """A tokenizer that cuts and decodes text as it will once it has a vocabulary."""
    bpe = tokenizers.Tokenizer(models.BPE())
    cut = pre_tokenizers.Split(tokenizers.Regex(PATTERNS[config.pattern]), behavior="isolated")
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [cut, pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    return bpe


def train_bpe(texts: Iterable[str], config: TokenizerConfig) -> tokenizers.Tokenizer:
    """Byte-level BPE (Sennrich et al. 2016 over bytes, Radford et al. 2019) of `texts`.

    The alphabet is all 256 bytes, so that every text can be encoded and comes back. Raises `DataError` as
    `build_tokenizer`.
    """
    special = config.special.ordered
    bpe = untrained_bpe(config)
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocab_size,
        min_frequency=config.min_frequency,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(not_empty(texts), trainer)
    bpe.post_processor = begin_with(special[0], 0)
    check_size(bpe.get_vocab_size(with_added_tokens=True), config)
    return bpe


def begin_with(token: str, id: int) -> processors.TemplateProcessing:
    """A text given to the model begins with the token that ended the document before it, as in training."""
    return processors.TemplateProcessing(
        single=f"{token} $A", pair=f"{token} $A {token} $B", special_tokens=[(token, id)]
    )


def save_trained(trained: tokenizers.Tokenizer, folder: Path) -> None:
    """Write the files that make `trained`, of `train_bpe`, a tokenizer of Hanlin and of `transformers`."""
    save_tokenizer(trained, "bpe", folder)
