import pytest

from hanlin.corpus.config import FilterConfig
from hanlin.corpus.filters import broken_rule
from hanlin.corpus.units import units

PROSE = (
    "The academy read petitions at dawn. Its youngest members copied edicts, checked dates and argued over a "
    "single character until the ink was dry. Nobody left before noon, and nobody was paid for waiting."
)
CHINESE = (
    "这家酒店离海边很近，早餐种类不少，服务员态度也好。房间虽然不大，但是很干净，晚上安静，下次来还会住这里。"
)
CODE = "def area(r):\n    if r < 0:\n        raise ValueError(f'{r} < 0')\n    return 3.14159 * r ** 2\n\nprint(area(2), area(3))"
FORMULA = "设 f(x) = x² + 2x + 1，则 f'(x) = 2x + 2；令 f'(x) = 0，得 x = -1，此时 f 取最小值 0。"
TABLE = "name   age  city\nAnna   31   Oslo\nBert   45   Rome\nCarl   27   Bonn"


@pytest.mark.parametrize(
    "text", [PROSE, CHINESE, CODE, FORMULA, TABLE, "床前明月光，疑是地上霜。\n举头望明月，低头思故乡。"]
)
def test_good_texts_pass(text):
    assert broken_rule(text, FilterConfig()) is None


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "too short"),
        (" \n \t ", "too short"),
        ("好的", "too short"),
        ("texte abîm\ufffd par \ufffd\ufffd hasard", "damaged characters"),
        ("Lorem ipsum dolor sit amet, consectetur adipiscing elit.", "placeholder text"),
        ("!!!!!!! ------- ======= ******* a", "few letters"),
        ("#win #fun #sun #run #pun are tags and no text", "many symbols"),
        ("Click here to log in\n" * 8, "repeated lines"),
        ("buy now " * 30, "one repeated phrase"),
        ("一般一般一般一般一般一般一般一般一般", "one repeated phrase"),
        ((CHINESE + "！") * 4, "repeated passages"),
        ((PROSE + " ") * 4, "repeated passages"),
    ],
)
def test_bad_texts_are_dropped_for_the_right_reason(text, rule):
    assert broken_rule(text, FilterConfig()) == rule


def test_rules_that_are_off_by_default():
    menu = "Home\nAbout\nContact us\nLog in to your account\nOur shops"
    assert broken_rule(menu, FilterConfig()) is None
    assert broken_rule(menu, FilterConfig(min_terminal_punctuation_share=0.12)) == "lines without ending"
    assert broken_rule(menu, FilterConfig(max_short_line_share=0.67)) == "short lines"
    assert (
        broken_rule(CHINESE, FilterConfig(max_short_line_share=0.67, min_terminal_punctuation_share=0.12))
        is None
    )


def test_units_are_words_or_single_han_letters():
    assert units("Hello, 世界! x_1 カナ 30%") == ["hello", "世", "界", "x_1", "カ", "ナ", "30"]
