"""Unigram over characters, with bytes for what has no piece, trained through the `tokenizers` library.

Source: Kudo 2018, "Subword Regularization", section 3.2.
"""

import json
from collections.abc import Iterable, Sequence

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from hanlin.tokenizer.bpe import begin_with
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.patterns import PATTERNS
from hanlin.tokenizer.pieces import BYTE_PIECES
from hanlin.tokenizer.vocabulary import characters_by_frequency, check_size, cut_at_others, not_empty

_DIGITS = 6
"""Of a score. Sums of floats depend in their last digits on the order of a hash table."""


def untrained_unigram(config: TokenizerConfig) -> tokenizers.Tokenizer:
    """A tokenizer that cuts and decodes text as it will once it has a vocabulary.

    Text is cut as for BPE, so that no piece crosses a border of words. It also keeps "<0x41>" in a text from
    ever being taken for the byte of that name.
    """
    unigram = tokenizers.Tokenizer(models.Unigram())
    unigram.pre_tokenizer = pre_tokenizers.Split(
        tokenizers.Regex(PATTERNS[config.pattern]), behavior="isolated"
    )
    unigram.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    return unigram


def train_unigram(texts: Iterable[str], config: TokenizerConfig) -> tokenizers.Tokenizer:
    """Unigram of `texts`, which are read twice: first for the characters, which may take half of the
    vocabulary.

    Rarer characters are encoded by their bytes, so that every text comes back. Raises `DataError` as
    `build_tokenizer`.
    """
    special = config.special
    room = config.vocab_size - len(special.ordered) - len(BYTE_PIECES)
    alphabet = characters_by_frequency(not_empty(texts))[: room // 2]
    unigram = untrained_unigram(config)
    trainer = trainers.UnigramTrainer(vocab_size=room, show_progress=False)
    unigram.train_from_iterator(cut_at_others(texts, alphabet), trainer)
    learned = _in_order(json.loads(unigram.to_str())["model"]["vocab"])
    fixed = [(piece, 0.0) for piece in (*special.ordered, *BYTE_PIECES)]
    unigram.model = models.Unigram(
        [*fixed, *learned], unk_id=special.ordered.index(special.roles["unk"]), byte_fallback=True
    )
    unigram.add_special_tokens(list(special.ordered))
    unigram.post_processor = begin_with(special.roles["bos"], 0)
    check_size(unigram.get_vocab_size(with_added_tokens=True), config)
    return unigram


def _in_order(vocabulary: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """The pieces from the likeliest to the least likely, the same ones every time.

    Characters too rare to have a likelihood get the trainer's lowest scores in the order of a hash table;
    here they get them in the order of their code points.
    """
    floor = min((score for piece, score in vocabulary if len(piece) > 1), default=0.0)
    rare = {piece for piece, score in vocabulary if len(piece) == 1 and score < floor}
    lowest = sorted((score for piece, score in vocabulary if piece in rare), reverse=True)
    scores = dict(vocabulary) | dict(zip(sorted(rare), lowest, strict=True))
    rounded = [(piece, round(score, _DIGITS)) for piece, score in scores.items()]
    return sorted(rounded, key=lambda entry: (-entry[1], entry[0]))
