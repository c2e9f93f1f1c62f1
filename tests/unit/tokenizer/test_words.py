"""Words of Chinese and English."""

import sys
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanlin.base.errors import MissingExtra
from hanlin.tokenizer import words as room
from hanlin.tokenizer.words import word_spans, words

texts = st.text() | st.text(st.sampled_from("学而时习之北京大学，。 abc don't3.14-_カタไทย🙂\n々〇"))


@given(text=texts)
@settings(max_examples=300, deadline=None)
def test_words_are_the_text_without_its_spaces(text: str) -> None:
    assert "".join(words(text)) == "".join(text.split())
    spans = word_spans(text)
    assert all(start < end for start, end in spans)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def test_chinese_and_english_words() -> None:
    assert words("我们用Python3写程序。") == ["我们", "用", "Python3", "写", "程序", "。"]
    assert words("It's 3.14, isn’t it? e-mail\n1,024") == [
        *("It's", "3.14", ",", "isn’t", "it", "?", "e-mail", "1,024")
    ]
    assert words("カタ ไท") == ["カ", "タ", "ไ", "ท"]
    assert words("") == []


def test_words_are_those_of_the_segmenter() -> None:
    import rjieba

    sentence = "乾隆年间编成四库全书共收书三千四百六十余种"
    assert words(sentence) == rjieba.cut(sentence)
    assert len(words(sentence)) < len(sentence)


def test_only_chinese_needs_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    room._chinese.cache_clear()
    monkeypatch.setitem(sys.modules, "rjieba", None)
    assert words("no Han here") == ["no", "Han", "here"]
    with pytest.raises(MissingExtra, match=r"hanlin\[zh\]"):
        words("学而时习之")
    room._chinese.cache_clear()
