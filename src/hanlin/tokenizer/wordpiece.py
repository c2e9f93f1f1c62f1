"""WordPiece as BERT has it, trained through the `tokenizers` library.

Source: Schuster & Nakajima 2012; Devlin et al. 2019, the published `tokenization.py` for how text is
cleaned and cut (Han characters apart, punctuation apart).
"""

import json
from collections.abc import Iterable, Iterator

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.vocabulary import characters_by_frequency, check_size, cut_at_others, fitting, not_empty

CONTINUES = "##"
"""Begins every piece that does not begin a word."""

LONGEST_WORD = 100
"""BERT takes longer words for unknown. Here they are cut, so that text without spaces has tokens, and so
that the table of words cannot grow without limit."""


def untrained_wordpiece(config: TokenizerConfig) -> tokenizers.Tokenizer:
    """A tokenizer that cleans, cuts and decodes text as it will once it has a vocabulary."""
    wordpiece = tokenizers.Tokenizer(
        models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=LONGEST_WORD)
    )
    wordpiece.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=config.lowercase
    )
    cut = pre_tokenizers.Split(tokenizers.Regex(f".{{1,{LONGEST_WORD}}}"), behavior="isolated")
    wordpiece.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.BertPreTokenizer(), cut])
    wordpiece.decoder = decoders.WordPiece(prefix=CONTINUES, cleanup=True)
    return wordpiece


def train_wordpiece(texts: Iterable[str], config: TokenizerConfig) -> tokenizers.Tokenizer:
    """WordPiece of `texts`, which are read twice: first for the characters.

    Characters may take half of the vocabulary, Han characters also what no longer piece needs. Rarer ones
    are unknown, as they are to BERT. Raises `DataError` as `build_tokenizer`.
    """
    special = config.special.ordered
    wordpiece = untrained_wordpiece(config)
    steps = untrained_wordpiece(config)  # of its own: one that is being trained is locked

    def cleaned() -> Iterator[str]:
        return (steps.normalizer.normalize_str(text) for text in texts)

    def within_words(character: str) -> bool:
        word = steps.normalizer.normalize_str(f"a{character}a")
        return len(steps.pre_tokenizer.pre_tokenize_str(word)) == 1

    room = (config.vocab_size - len(special)) // 2
    characters = [c for c in characters_by_frequency(not_empty(cleaned())) if not c.isspace()]
    alphabet = fitting(characters, room, lambda character: 1 + within_words(character))
    inner = [CONTINUES + character for character in sorted(alphabet) if within_words(character)]
    trainer = trainers.WordPieceTrainer(
        vocab_size=config.vocab_size,
        min_frequency=config.min_frequency,
        special_tokens=[*special, *inner],  # else their ids, and then ties, follow the order of a hash table
        continuing_subword_prefix=CONTINUES,
        show_progress=False,
    )
    wordpiece.train_from_iterator(cut_at_others(cleaned(), [*alphabet, " "]), trainer)
    missing = config.vocab_size - wordpiece.get_vocab_size()
    more = [character for character in characters[len(alphabet) :] if not within_words(character)]
    wordpiece = _completed(wordpiece, set(inner), more[: max(missing, 0)])
    wordpiece.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, special.index(token)) for token in ("[CLS]", "[SEP]")],
    )
    check_size(wordpiece.get_vocab_size(with_added_tokens=True), config)
    return wordpiece


def _completed(trained: tokenizers.Tokenizer, inner: set[str], more: list[str]) -> tokenizers.Tokenizer:
    """`trained` with the `inner` pieces as ordinary tokens of the same ids, and `more` pieces at the end."""
    definition = json.loads(trained.to_str())
    definition["added_tokens"] = [
        token for token in definition["added_tokens"] if token["content"] not in inner
    ]
    vocabulary = definition["model"]["vocab"]
    vocabulary |= {piece: id for id, piece in enumerate(more, start=len(vocabulary))}
    return tokenizers.Tokenizer.from_str(json.dumps(definition))
