import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanlin.corpus.config import DeduplicateConfig
from hanlin.corpus.duplicates import Clusters, NearCopies, choose_bands, jaccard, shingles

WORDS = [f"word{i}" for i in range(500)]


def near(texts, **settings):
    config = DeduplicateConfig(**settings)
    index = NearCopies(config, lambda number: texts[number])
    return [index.find_and_add(text, number, config.near == "keep") for number, text in enumerate(texts)]


@pytest.mark.parametrize("threshold", [0.4, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0])
def test_bands_find_pairs_at_the_threshold(threshold):
    bands, rows = choose_bands(threshold)
    assert bands * rows <= 128
    assert 1 - (1 - threshold**rows) ** bands >= 0.99


def test_jaccard_by_hand():
    one, two = shingles("a b c d e f", 5), shingles("a b c d e g", 5)
    assert one == {"a b c d e", "b c d e f"}
    assert jaccard(one, two) == 1 / 3
    assert shingles("床前明月光", 3) == {"床 前 明", "前 明 月", "明 月 光"}
    assert shingles("", 5) == {""}


def test_planted_near_copies_are_found_and_no_others():
    draw = random.Random(0)
    originals = [" ".join(draw.choices(WORDS, k=120)) for _ in range(150)]
    copies = [text.replace(text.split()[60], "changed", 1) for text in originals]
    found = near(originals + copies)
    assert found[:150] == [[]] * 150
    expected = [
        [i] if jaccard(shingles(originals[i], 5), shingles(copies[i], 5)) >= 0.8 else [] for i in range(150)
    ]
    assert sum(map(len, expected)) > 140
    agreeing = sum(got == want for got, want in zip(found[150:], expected, strict=True))
    assert agreeing >= 148  # at similarity 0.9 banding misses fewer than one pair in ten thousand


def test_chinese_near_copies():
    first = "酒店位置很好，离地铁站只有五分钟，房间干净整洁，服务员非常热情，早餐种类丰富，性价比很高，下次还会选择这里，也推荐给了同事和家人。"
    assert near(
        [first, first.replace("五", "六"), "书的内容不错，但是纸张太薄，印刷也有几处错误，希望下次改进。"]
    ) == [[], [0], []]


def test_below_the_threshold_nothing_is_dropped():
    one = " ".join(WORDS[:40])
    other = " ".join(WORDS[:30] + WORDS[100:110])
    assert near([one, other], threshold=0.8) == [[], []]
    assert near([one, other], threshold=0.5) == [[], [0]]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=15))
def test_clusters_are_the_connected_components(pairs):
    clusters = Clusters()
    for _ in range(10):
        clusters.add()
    component = list(range(10))
    for one, other in pairs:
        clusters.join(one, other)
        low, high = sorted((component[one], component[other]))
        component = [low if value == high else value for value in component]
    assert [clusters.first(number) for number in range(10)] == component
