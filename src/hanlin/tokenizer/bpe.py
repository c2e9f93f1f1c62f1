"""Byte-level BPE, trained through the `tokenizers` library, and its files."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, processors, trainers

from hanlin.base.errors import DataError
from hanlin.base.files import write_text
from hanlin.base.language import Text
from hanlin.base.progress import console
from hanlin.tokenizer.chat import CHATML
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.folder import DEFINITION, TEMPLATE
from hanlin.tokenizer.patterns import PATTERNS
from hanlin.tokenizer.special import SpecialTokens


def train_bpe(texts: Iterable[str], config: TokenizerConfig) -> tokenizers.Tokenizer:
    """Byte-level BPE (Sennrich et al. 2016 over bytes, Radford et al. 2019) of `texts`.

    The alphabet is all 256 bytes, so that every text can be encoded and comes back. Raises `DataError` as
    `build_tokenizer`.
    """
    special = SpecialTokens().ordered()
    bpe = tokenizers.Tokenizer(models.BPE())
    cut = pre_tokenizers.Split(tokenizers.Regex(PATTERNS[config.pattern]), behavior="isolated")
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [cut, pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocab_size,
        min_frequency=config.min_frequency,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(_non_empty(texts), trainer)
    bpe.post_processor = _begin(special[0])
    size = bpe.get_vocab_size(with_added_tokens=True)
    if size < config.vocab_size:
        _small(size, config)
    return bpe


def _begin(token: str) -> processors.TemplateProcessing:
    """A text given to the model begins with the token that ended the document before it, as in training."""
    return processors.TemplateProcessing(
        single=f"{token} $A", pair=f"{token} $A {token} $B", special_tokens=[(token, 0)]
    )


def save_trained(trained: tokenizers.Tokenizer, folder: Path) -> None:
    """Write the three files that make `trained` a tokenizer of Hanlin and of `transformers`."""
    special = SpecialTokens()
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": special.end_of_document,
        "eos_token": special.end_of_document,
        "pad_token": special.padding,
        "clean_up_tokenization_spaces": False,
    }
    write_text(folder / DEFINITION, trained.to_str(pretty=True) + "\n")
    write_text(folder / "tokenizer_config.json", json.dumps(settings, indent=1) + "\n")
    write_text(folder / TEMPLATE, CHATML)


def _non_empty(texts: Iterable[str]) -> Iterator[str]:
    seen = False
    for text in texts:
        seen = seen or bool(text)
        yield text
    if not seen:
        raise no_text("the corpus")


def _small(size: int, config: TokenizerConfig) -> None:
    if config.on_small == "shrink":
        console.print(
            str(
                Text(
                    f"The text yields {size} tokens, fewer than the {config.vocab_size} asked for; the "
                    f"vocabulary has {size}.",
                    f"文本只能产生 {size} 个词元，少于要求的 {config.vocab_size} 个；词表大小为 {size}。",
                )
            )
        )
        return
    raise DataError(
        Text(
            f"The corpus yields only {size} tokens; tokenizer.vocab_size asks for {config.vocab_size}.",
            f"语料只能产生 {size} 个词元，而 tokenizer.vocab_size 要求 {config.vocab_size} 个。",
        ),
        Text(
            f"Set tokenizer.vocab_size={size} or less, set tokenizer.on_small=shrink, lower "
            "tokenizer.min_frequency, or bring more text.",
            f"请设置 tokenizer.vocab_size={size} 或更小，或设置 tokenizer.on_small=shrink，或降低 "
            "tokenizer.min_frequency，或增加文本。",
        ),
    )


def no_text(place: str) -> DataError:
    """The error for a corpus that holds no text."""
    return DataError(
        Text(
            f"There is no text to train a tokenizer on in {place}.", f"{place} 中没有可用来训练分词器的文本。"
        ),
        Text(
            "Check the sources and filters of the corpus; its report.json says what was dropped.",
            "请检查语料的来源与过滤条件；其 report.json 说明了丢弃的内容。",
        ),
    )
