"""What a recipe's model is pre-trained on: from the names in `pretrain:` to objectives with their rows."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from hanlin.base.records import Split
from hanlin.batches.framed import FramedRows
from hanlin.batches.loader import Examples, Loader
from hanlin.batches.masked import MaskedRows
from hanlin.batches.masking import Masking
from hanlin.batches.pack import PackedRows
from hanlin.batches.permuted import PermutedRows
from hanlin.batches.prefix import PrefixRows
from hanlin.batches.sentence_pairs import PairRows, Sentences
from hanlin.batches.spans import SpanRows, Spans
from hanlin.batches.store import Ids
from hanlin.objective.causal import Causal
from hanlin.objective.config import MASKED, ObjectiveConfig
from hanlin.objective.masked import Masked
from hanlin.objective.mixture import Mixture, Part
from hanlin.objective.permutation import Permutation
from hanlin.objective.sentence_pairs import SentencePairs
from hanlin.objective.sequence_to_sequence import SequenceToSequence
from hanlin.objective.term import Objective
from hanlin.stages.fitting import check_fit, default_objective
from hanlin.stages.recipe import Recipe
from hanlin.tokenizer.tokenizer import Tokenizer
from hanlin.tokenizer.word_numbers import WordNumbers


class TokenSource(Protocol):
    """Where the ids of the splits come from: a token store, or random ones to try a run out."""

    begin_id: int
    vocab_size: int

    def tokens(self, split: Split, sources: Sequence[str] = ()) -> Ids:
        """The ids of a split, of all sources of the corpus or of some."""

    def sentence_starts(self, split: Split, sources: Sequence[str] = ()) -> npt.NDArray[np.int64]:
        """Where in them each sentence begins; asked only where `needs_sentences`."""


def objective_configs(recipe: Recipe) -> tuple[ObjectiveConfig, ...]:
    """The parts of the run; raises `ConfigError` for an objective that does not fit the model or the tokenizer."""
    pretrain = recipe.pretrain
    kind = pretrain.objective or default_objective(recipe.model)
    configs = pretrain.mixture or (ObjectiveConfig(kind=kind),)
    check_fit(recipe, configs)
    return configs


def needs_sentences(recipe: Recipe) -> bool:
    """Whether a part of the run has to know where sentences begin."""
    return any(config.kind in ("next-sentence", "sentence-order") for config in objective_configs(recipe))


def hides_tokens(recipe: Recipe) -> bool:
    """Whether the model learns to say which tokens were hidden, and so has a pseudo-perplexity."""
    return any(config.kind in MASKED for config in objective_configs(recipe))


def is_language_model(recipe: Recipe) -> bool:
    """Whether the model learns to continue text: a decoder, one of whose parts is causal or has a prefix."""
    return any(config.kind in ("causal", "prefix") for config in objective_configs(recipe))


def framed_rows(recipe: Recipe, tokens: Ids) -> FramedRows:
    """Rows as the recipe's encoder reads them."""
    special = recipe.tokenizer.special.ids()
    return FramedRows(tokens, recipe.model.window, special, recipe.pretrain.separate_documents)


def build_mixture(
    recipe: Recipe,
    source: TokenSource,
    splits: tuple[Split, Split] = ("train", "valid"),
    rank: int = 0,
    ranks: int = 1,
) -> Mixture:
    """The objectives with the rows of the split that is learned from and of the one that is held out.

    rank, ranks: the share of each training batch that this process makes. Raises `DataError` if a split has no row.
    """
    pretrain = recipe.pretrain
    configs = objective_configs(recipe)
    parts = []
    for number, config in enumerate(configs):
        train, held_out = (_examples(recipe, source, split, config) for split in splits)
        same = [other.kind for other in configs].count(config.kind) > 1
        parts.append(
            Part(
                name=f"{config.kind}-{number}" if same else config.kind,
                objective=_objective(recipe, config),
                train=Loader(
                    train,
                    rows=len(train) if pretrain.batch == "full" else pretrain.batch_rows,
                    seed=pretrain.seed,
                    rank=rank,
                    ranks=ranks,
                ),
                held_out=Loader(held_out, rows=pretrain.rows_at_once, seed=pretrain.seed),
                weight=config.weight,
            )
        )
    return Mixture(parts)


def epoch_rows(mixture: Mixture) -> int:
    """Rows of one pass over what a run learns from; of a mixture, of its first part."""
    train = mixture.parts[0].train
    assert isinstance(train, Loader)
    return len(train.examples)


def _objective(recipe: Recipe, config: ObjectiveConfig) -> Objective:
    smoothing, special = recipe.pretrain.label_smoothing, recipe.tokenizer.special.ids()
    match config.kind:
        case "causal" | "prefix":
            return Causal(smoothing)
        case "masked":
            return Masked(smoothing)
        case "next-sentence" | "sentence-order":
            return SentencePairs(smoothing)
        case "permutation":
            return Permutation(special.pad if special.mask is None else special.mask, smoothing)
        case "spans" if recipe.model.assembly == "seq2seq":
            return SequenceToSequence(special.pad, smoothing)
        case "spans":
            return Causal(smoothing)


def _examples(recipe: Recipe, source: TokenSource, split: Split, config: ObjectiveConfig) -> Examples:
    tokens, special = source.tokens(split, config.sources), recipe.tokenizer.special.ids()
    window, separate = recipe.model.window, recipe.pretrain.separate_documents
    match config.kind:
        case "causal":
            return PackedRows(tokens, window, source.begin_id, separate)
        case "prefix":
            return PrefixRows(PackedRows(tokens, window, source.begin_id, separate))
        case "masked":
            return MaskedRows(framed_rows(recipe, tokens), _masking(recipe, source, config))
        case "permutation":
            return PermutedRows(framed_rows(recipe, tokens), config.predicted_share)
        case "spans":
            spans = Spans(config.span_share, config.span_length)
            return SpanRows(tokens, window, special, spans, decoder=recipe.model.assembly == "decoder")
        case "next-sentence" | "sentence-order":
            sentences = Sentences(tokens, source.sentence_starts(split, config.sources), special.end)
            return PairRows(sentences, window, special, _masking(recipe, source, config), config.kind)


def _masking(recipe: Recipe, source: TokenSource, config: ObjectiveConfig) -> Masking:
    special, place = recipe.tokenizer.special.ids(), recipe.places.tokenizer
    assert special.mask is not None
    # Before there is a tokenizer, a run that is only tried out has no words.
    words = WordNumbers(Tokenizer.load(place)) if config.whole_words and place.exists() else None
    return Masking(special.mask, source.vocab_size, special.all, config.mask_share, words=words)
