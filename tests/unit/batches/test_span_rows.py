"""Spans are taken out so that source and target together are the text."""

from dataclasses import replace

import numpy as np
import pytest

from hanlin.base.errors import ConfigError, DataError
from hanlin.batches.spans import SpanRows, Spans
from teaching import SPECIAL, repeating


def merged(source, target, sentinels):
    """The text again: each sentinel of the source replaced by what follows it in the target."""
    text = []
    target = target.tolist()
    for id in source.tolist():
        if id not in sentinels:
            text.append(id)
            continue
        place = target.index(id) + 1
        while target[place] not in sentinels:
            text.append(target[place])
            place += 1
    return text


@pytest.mark.parametrize(
    ("L", "share", "length"), [(2, 0.15, 3), (20, 0.15, 3), (200, 0.15, 3), (50, 0.5, 2), (9, 0.9, 1)]
)
def test_source_and_target_are_the_text(L, share, length):
    spans, sentinels = Spans(share, length), list(range(1000, 1100))
    taken, K = spans.sizes(L)
    for seed in range(30):
        ids = np.arange(L)
        source, target = spans.cut(ids, sentinels, 999, np.random.default_rng(seed))
        assert merged(source, target[:-1], sentinels) == ids.tolist()
        assert [id for id in source if id >= 1000] == sentinels[:K]
        assert [id for id in target if id >= 1000] == sentinels[: K + 1]
        assert target[-2:].tolist() == [sentinels[K], 999]
        assert len(source) == L - taken + K
        assert len(target) == taken + K + 2
        assert source[0] == 0  # a text begins with what is kept


def test_the_published_shares():
    assert Spans().sizes(512) == (77, 26)  # 15 % of 512; about three tokens a span
    _, target = Spans().cut(np.arange(512), range(600, 700), 999, np.random.default_rng(0))
    lengths = np.diff(np.flatnonzero(target >= 600))[:-1] - 1
    assert lengths.mean() == pytest.approx(77 / 26)
    assert len(set(lengths.tolist())) > 3


def test_every_place_is_taken_out_sometimes():
    out = np.zeros(40)
    for seed in range(400):
        source, _ = Spans().cut(np.arange(40), range(100, 120), 999, np.random.default_rng(seed))
        out += ~np.isin(np.arange(40), source)
    assert out[0] == 0
    assert out[4:].min() > 20
    assert out.sum() == 400 * 6


@pytest.mark.parametrize("window", [16, 24, 50])
@pytest.mark.parametrize("decoder", [False, True])
def test_rows_fill_the_window_and_do_not_exceed_it(window, decoder):
    special = replace(SPECIAL, sentinels=tuple(range(100, 140)))
    rows = SpanRows(repeating(documents=100), window, special, Spans(), decoder)
    batch = rows.batch(np.arange(3), [(0, 0, row) for row in range(3)])
    lengths = [batch.tokens_BT.shape[1]] if decoder else [batch.source_BS.shape[1], batch.targets_BT.shape[1]]
    assert window - 2 <= max(lengths) <= window
    longer = SpanRows(repeating(documents=100), window + 3, special, Spans(), decoder)
    assert longer.length > rows.length


def test_what_does_not_fit_is_said():
    with pytest.raises(ConfigError, match=r"spans needs 37 sentinels .* tokenizer has 8") as caught:
        SpanRows(repeating(documents=100), 640, SPECIAL, Spans(), False)
    assert "tokenizer.sentinels=37" in caught.value.remedy.en
    with pytest.raises(ConfigError, match="too short for a text with a span"):
        SpanRows(repeating(), 4, SPECIAL, Spans(), True)
    with pytest.raises(DataError, match="one row needs"):
        SpanRows(np.array([1, 20, 21, 1], np.uint16), 24, SPECIAL, Spans(), True)
