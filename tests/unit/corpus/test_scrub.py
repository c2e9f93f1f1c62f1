from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hanlin.base.errors import ConfigError
from hanlin.corpus.config import ScrubConfig
from hanlin.corpus.scrub import scrubber

SCRUB = scrubber(ScrubConfig())


def scrub(text):
    return SCRUB(text, Counter())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("请发邮件到zhang.san+x@mail.example.com.cn谢谢", "请发邮件到<EMAIL>谢谢"),
        ("Write to Anna.B@firm.co.uk, please.", "Write to <EMAIL>, please."),
        ("电话13812345678联系我", "电话<PHONE>联系我"),
        ("手机 +86 138-1234-5678。", "手机 <PHONE>。"),
        ("总机(010)62345678转801，传真021-6234567", "总机<PHONE>，传真<PHONE>"),
        ("call +44 20 8366 1177 or (650) 253-2222", "call <PHONE> or <PHONE>"),
        ("身份证11010519491231002X号", "身份证<CHINESE_ID>号"),
        ("卡号4111 1111 1111 1111，谢谢", "卡号<CARD>，谢谢"),
        ("银联6222020000000000008卡", "银联6222020000000000008卡"),
        ("IBAN GB29 NWBK 6016 1331 9268 19 IS MINE", "IBAN <IBAN> IS MINE"),
        ("登录IP为8.8.208.117的用户", "登录IP为<IP>的用户"),
        ("from 2001:4860:4860::8888 today", "from <IP> today"),
    ],
)
def test_personal_data_is_replaced(text, expected):
    assert scrub(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "numpy 2.4.6.1, version 10.120.33.200, v1.2.3.4, 版本 4.18.200.7, section 3.1.4.1",
        "2024-01-31 12:30:45, 31.12.1999, 2024/05/06, 20240131123045, 1700000000, 1700000000123",
        "ISBN 978-7-302-12345-6 and 9787302123456; ISSN 0001-0782; doi 10.1000/182.1234567",
        "192.168.0.1 127.0.0.1 0.0.0.0 255.255.255.0 10.1.2.3 fe80::1 ::1",
        "x = a[2::3]; std::vector<int> v; y = A@self.weight; @decorator.name",
        "git@github.com:user/repo.git and user@example.com",
        "pi 3.14159265358979, 86.6025403784, 1,234,567,890, 15032385536 bytes, 0x13812345678",
        "https://example.org/item/13812345678.html?id=4111111111111111",
        "pp. 26966-26979, 573-583. 2020, tel est son nom",
        "身份证号110105194912310021校验位不对，订单号1442083355，共13812345678901个",
        "卡号4111 1111 1111 1112 不对",
        "DE00 0000 0000 0000 0000 00",
        "Decimal('+35236450.6') 1e+1234567890",
    ],
)
def test_what_only_looks_like_it_stays(text):
    assert scrub(text) == text


def test_only_the_kinds_asked_for():
    only = scrubber(ScrubConfig(kinds=("email",)))
    counts = Counter()
    assert only("a@b.com 电话13812345678", counts) == "<EMAIL> 电话13812345678"
    assert counts == {"EMAIL": 1}
    assert scrubber(ScrubConfig(enabled=False))("a@b.com", Counter()) == "a@b.com"


def test_unknown_region_is_the_users_mistake():
    with pytest.raises(ConfigError, match="XX"):
        scrubber(ScrubConfig(phone_regions=("XX",)))


@given(st.text(st.sampled_from("0123456789 +-.()@abX:中GB"), max_size=40))
def test_scrubbing_twice_changes_nothing_more(text):
    once = scrub(text)
    assert scrub(once) == once
