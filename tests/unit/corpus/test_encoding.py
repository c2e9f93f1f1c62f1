import pytest

from hanlin.corpus.encoding import detect_encoding

SIMPLIFIED = "今天天气很好，我们一起去公园散步。"
TRADITIONAL = "今天天氣很好，我們一起去公園散步。"
ENGLISH = "The quick brown fox; nothing else.\n"


@pytest.mark.parametrize(
    ("text", "codec"),
    [
        (SIMPLIFIED, "utf-8"),
        (SIMPLIFIED, "utf-8-sig"),
        (SIMPLIFIED, "gb18030"),
        (TRADITIONAL, "big5"),
        (TRADITIONAL, "gb18030"),
        (SIMPLIFIED, "utf-16"),
        (SIMPLIFIED, "utf-16-le"),
        (SIMPLIFIED, "utf-16-be"),
        (ENGLISH + "déjà vu, naïve café", "utf-16-le"),
        (ENGLISH + "déjà vu, naïve café", "utf-16-be"),
        ("Où est le café? L'été à Genève, naïve façade.", "latin-1"),
        (ENGLISH * 20 + SIMPLIFIED, "gb18030"),
        (ENGLISH * 20 + TRADITIONAL, "big5"),
    ],
)
def test_detected_encoding_gives_the_text_back(text, codec):
    raw = text.encode(codec)
    detected = detect_encoding(raw, complete=True)
    assert detected is not None
    assert raw.decode(detected) == text


@pytest.mark.parametrize("codec", ["gb18030", "utf-16-le", "utf-16-be", "utf-8"])
@pytest.mark.parametrize("length", [8, 12, 17])
def test_short_chinese_files(codec, length):
    text = SIMPLIFIED[:length]
    detected = detect_encoding(text.encode(codec), complete=True)
    assert detected is not None
    assert text.encode(codec).decode(detected) == text


def test_a_sample_cut_inside_a_character_is_still_text():
    raw = (SIMPLIFIED * 5).encode("utf-8")
    assert detect_encoding(raw[:-1], complete=False) == "utf-8"
    raw = (SIMPLIFIED * 5).encode("gb18030")
    assert detect_encoding(raw[:-1], complete=False) == "gb18030"


def test_utf8_with_one_damaged_byte_stays_utf8():
    raw = bytearray((SIMPLIFIED * 10).encode("utf-8"))
    raw[30] = 0xFF
    assert detect_encoding(bytes(raw), complete=True) == "utf-8"


@pytest.mark.parametrize(
    "raw",
    [
        b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x01\x00\x00\x00\x01\x00\x08\x06\x00\x00\x00" * 20,
        bytes((i * 7919 + i // 3) % 256 for i in range(4000)),
        b"\x7fELF\x02\x01\x01" + bytes(200),
    ],
)
def test_binary_is_not_text(raw):
    assert detect_encoding(raw, complete=False) is None
