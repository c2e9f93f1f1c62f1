import pytest

from hanlin.corpus.language import language_identifier


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("The committee will publish its decision on the new railway line next week.", "en"),
        ("质量还不错", "zh"),
        ("這本書的內容非常有趣", "zh"),
        ("今日は天気がいいので公園に行きましょう。", "ja"),
        ("Der Ausschuss veröffentlicht nächste Woche seine Entscheidung.", "de"),
        ("12345 --- ???", ""),
    ],
)
def test_language(text, code):
    expected = {code, ""} if code == "" else {code}
    identify = language_identifier()
    assert identify(text.translate({ord(d): None for d in "12345"}) if code == "" else text) in expected
