from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from hanlin.base.config import validate_settings
from hanlin.base.errors import ConfigError
from hanlin.evaluate.config import EvaluateConfig
from hanlin.evaluate.examine import TRANSFORMER, examine, train_ngram
from hanlin.evaluate.perplexity import HeldOut, uniform
from hanlin.evaluate.results import read_results, write_results

CONFIG = EvaluateConfig(ngram_order=3, resamples=100)


def corpus(count: int, seed: int) -> list[HeldOut]:
    """Documents in which each byte follows from the one before it, nine times in ten."""
    generator = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        letters = [int(generator.integers(26))]
        while len(letters) < 60:
            follows = generator.random() < 0.9
            letters.append((letters[-1] * 3 + 1) % 26 if follows else int(generator.integers(26)))
        made.append(HeldOut("".join(chr(97 + n) for n in letters), [n + 1 for n in letters]))
    return made


def trained(config: EvaluateConfig = CONFIG):
    return train_ngram([np.array(d.ids) for d in corpus(100, 1)], 27, 0, config)


def test_a_model_that_knows_nothing_loses_to_counting_beyond_chance(tmp_path: Path) -> None:
    found = examine(uniform(27), trained(), corpus(30, 2), CONFIG)
    assert found.models[TRANSFORMER].perplexity == pytest.approx(27)
    assert 2 < found.models["n-gram"].perplexity < 5
    assert found.models["uniform"] == found.models[TRANSFORMER].model_copy(
        update={"seconds": found.models["uniform"].seconds}
    )
    [difference] = found.differences
    assert difference.bits_per_byte > 0
    assert difference.certain
    assert (found.documents, found.tokens, found.bytes, found.characters) == (30, 30 * 61, 1800, 1800)
    write_results(tmp_path / "results.json", found)
    assert read_results(tmp_path / "results.json") == found


def test_caps_draw_documents_and_are_reported() -> None:
    seen: list[int] = []

    def scorer(documents: Sequence[np.ndarray], /) -> list[np.ndarray]:
        seen.extend(len(ids) for ids in documents)
        return uniform(27)(documents)

    documents = corpus(30, 2)
    by_count = examine(scorer, trained(), documents, CONFIG.model_copy(update={"max_documents": 7}))
    assert (by_count.documents, by_count.documents_in_split, len(seen)) == (7, 30, 7)
    by_bytes = examine(scorer, trained(), documents, CONFIG.model_copy(update={"max_bytes": 300}))
    assert (by_bytes.documents, by_bytes.bytes) == (5, 300)
    at_least_one = examine(scorer, trained(), documents, CONFIG.model_copy(update={"max_bytes": 1}))
    assert at_least_one.documents == 1
    assert at_least_one.models[TRANSFORMER].bits_per_byte_interval is None
    assert not at_least_one.differences[0].certain


def test_the_cap_on_counted_tokens_is_reported() -> None:
    ngram = trained(CONFIG.model_copy(update={"ngram_max_tokens": 600}))
    assert ngram.model.tokens == 10 * 61
    assert ngram.tokens_in_split == 100 * 61


def test_the_same_input_gives_the_same_figures() -> None:
    one, other = (examine(uniform(27), trained(), corpus(9, 2), CONFIG) for _ in range(2))
    for name in one.models:
        assert one.models[name].model_dump(exclude={"seconds"}) == other.models[name].model_dump(
            exclude={"seconds"}
        )
    assert one.differences == other.differences


@pytest.mark.parametrize("wrong", [{"ngram_order": 0}, {"resamples": 1}, {"split": "dev"}, {"promts": ["a"]}])
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        validate_settings(EvaluateConfig, wrong, where="recipe.yaml")
