import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanlin.corpus.sentences import split_sentences


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("He came. She left! Why? 好。", ["He came.", "She left!", "Why?", "好。"]),
        ("翰林院设于唐。他问：“何时？”众人不答……然后散去", ["翰林院设于唐。", "他问：“何时？”", "众人不答……", "然后散去"]),
        ("Dr. Smith paid 3.50 to J. K. Jones, e.g. in Jan. 1920. Done.", ["Dr. Smith paid 3.50 to J. K. Jones, e.g. in Jan. 1920.", "Done."]),
        ('"Stop." He did. (So they say.) End', ['"Stop."', "He did.", "(So they say.)", "End"]),
        ("See http://a.example/x?y=1. Then go", ["See http://a.example/x?y=1.", "Then go"]),
        ("One line\nanother line\n\nthird", ["One line", "another line", "third"]),
        ("Version 3.11 of python. it goes on. Yes", ["Version 3.11 of python. it goes on.", "Yes"]),
        ("Wait... What?! 真的？！是", ["Wait...", "What?!", "真的？！", "是"]),
        ("", []),
        (" \n ", []),
    ],
)  # fmt: skip
def test_sentences(text, sentences):
    assert split_sentences(text) == sentences


@given(st.text(alphabet="ab A.。！!?\n”） …,，1", max_size=60))
def test_nothing_but_space_is_lost(text):
    assert "".join("".join(split_sentences(text)).split()) == "".join(text.split())
