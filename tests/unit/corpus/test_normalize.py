import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanlin.corpus.config import NormalizeConfig
from hanlin.corpus.normalize import normalize

NFC = NormalizeConfig()
ODD = st.text(
    st.sampled_from(
        "a1 \t\n\r\u3000\u00a0\u200b\u200d\u200c\ufeff\u2028\x85\x1c\u0301e\u0915\U0001f469\ufe0f中。x²ﬁ"
    ),
    max_size=30,
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=60), ODD), st.sampled_from(["NFC", "NFKC"]))
def test_normalising_twice_changes_nothing_more(text, form):
    config = NormalizeConfig(form=form)
    once = normalize(text, config)
    assert normalize(once, config) == once


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("e\u0301a\r\nb\rc\u2028d", "éa\nb\nc\nd"),
        ("\ufeffzero\u200bwidth\u202e and\u00adhyphen\x00\x07", "zerowidth andhyphen"),
        ("no\u00a0break\u2009thin", "no break thin"),
        ("a  \n\n\n\n\nb\t\n", "a\n\nb"),
        ("　　第一段。\n　　第二段。", "第一段。\n第二段。"),
        ("床前明月光　　疑是地上霜　\n", "床前明月光　疑是地上霜"),
        ("\ud800lone", "lone"),
        ("A\u200c\u0300", "À"),
    ],
)
def test_what_changes(text, expected):
    assert normalize(text, NFC) == expected


@pytest.mark.parametrize(
    "text",
    [
        "“引号”，《书名》——破折号……１２３（括号）；：！？、",
        "def f(x):\n\tif x:\n        return  x   # aligned",
        "x² + y³ ≤ ∑ₙ α·β → ∞, E = mc²",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467 \u0915\u094d\u200d\u0937 \u0646\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    ],
)
def test_what_stays(text):
    assert normalize(text, NFC) == text


def test_nfkc_is_the_one_that_changes_formulas_and_width():
    assert normalize("x² １２", NormalizeConfig(form="NFKC")) == "x2 12"
