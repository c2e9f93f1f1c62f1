"""What personal data looks like, and the checks that tell it from other numbers.

Digits stand directly beside Han letters in Chinese, so edges are "no digit here", never `\\b`.
"""

import ipaddress
import re

EMAIL = re.compile(
    r"(?<![A-Za-z0-9_.%+-])[A-Za-z0-9](?:[A-Za-z0-9._%+-]{0,62}[A-Za-z0-9_+-])?@"
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+([A-Za-z]{2,24})(?![A-Za-z0-9_(]|-[A-Za-z0-9])",
    re.ASCII,
)
_LONG_DOMAINS = frozenset(
    [
        "com",
        "net",
        "org",
        "edu",
        "gov",
        "mil",
        "int",
        "info",
        "biz",
        "name",
        "pro",
        "mobi",
        "asia",
        "tel",
        "jobs",
        "travel",
        "museum",
        "coop",
        "aero",
        "arpa",
        "cat",
        "post",
        "online",
        "site",
        "shop",
        "store",
        "tech",
        "app",
        "dev",
        "cloud",
        "email",
        "live",
        "blog",
        "club",
        "work",
        "world",
        "today",
        "news",
        "media",
        "agency",
        "company",
        "group",
        "solutions",
        "services",
        "systems",
        "digital",
        "network",
        "space",
        "website",
        "top",
        "xyz",
        "wang",
        "ink",
        "ren",
        "vip",
        "ltd",
    ]
)
_EXAMPLE_HOST = re.compile(r"(?:^|\.)example\.(?:com|net|org)$")
"""Kept for examples by RFC 2606: nobody's address."""

_NOBODY = frozenset({"git", "noreply", "no-reply"})

CHINESE_MOBILE = re.compile(
    r"(?<![0-9A-Za-z_.+-])(?:(?:\+|00)?86[ -]?)?1[3-9][0-9](?:[0-9]{8}|[ -][0-9]{4}[ -][0-9]{4})(?![0-9A-Za-z_]|[.-][0-9])"
)
CHINESE_LANDLINE = re.compile(
    r"(?<![0-9A-Za-z_.-])(?:(?:\+|00)86[ -]?)?(?:[(（]0(?:10|2[0-9]|[3-9][0-9]{2})[)）][ -]?|0(?:10|2[0-9]|[3-9][0-9]{2})-)"
    r"[2-9][0-9]{6,7}(?:(?:-|转)[0-9]{1,5})?(?![0-9A-Za-z_]|[.-][0-9])"
)
PHONE_CONTEXT = re.compile(
    "[\u4e00-\u9fff]|\\b(?:tel|phone|mobile|cell|call|fax|whatsapp|wechat)", re.IGNORECASE
)
OTHER_PHONE = re.compile(
    r"(?<![0-9A-Za-z_.,/=:*#+<>\[-])(?:\+|00|\()?[0-9](?:[0-9]|(?:[ ./-]|\) ?|\)-| ?\()(?=[0-9(])){6,22}[0-9]"
    r"(?: ?(?:x|ext\.?) ?[0-9]{1,5})?(?![0-9A-Za-z_]|[.,/*:-][0-9]|\])"
)

CHINESE_ID = re.compile(
    r"(?<![0-9A-Za-z])[1-9][0-9]{5}(?:18|19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])[0-9]{3}[0-9Xx](?![0-9A-Za-z])"
)
CARD = re.compile(
    r"(?<![0-9A-Za-z_.+-])(?:[0-9]{13,19}|[0-9]{4}(?:[ -][0-9]{4}){3}(?:[ -][0-9]{3})?|[0-9]{4}[ -][0-9]{6}[ -][0-9]{4,5})"
    r"(?![0-9A-Za-z_]|[.-][0-9])"
)
_CARD_ISSUERS = re.compile(
    r"4[0-9]{12}(?:[0-9]{3}){0,2}|(?:5[1-5][0-9]{2}|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}"
    r"|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}|6(?:011|5[0-9]{2}|4[4-9][0-9])[0-9]{12}|62[0-9]{14,17}"
    r"|(?:2131|1800)[0-9]{11}|35[0-9]{14}|(?:5018|5020|5038|6304|6759|676[1-3])[0-9]{8,15}"
)

IBAN = re.compile(r"(?<![0-9A-Za-z])[A-Z]{2}[0-9]{2}(?: ?[0-9A-Z]){11,30}")
_IBAN_LENGTHS = {
    entry[:2]: int(entry[2:])
    for entry in [
        "AD24",
        "AE23",
        "AL28",
        "AT20",
        "AZ28",
        "BA20",
        "BE16",
        "BG22",
        "BH22",
        "BR29",
        "BY28",
        "CH21",
        "CR22",
        "CY28",
        "CZ24",
        "DE22",
        "DK18",
        "DO28",
        "EE20",
        "EG29",
        "ES24",
        "FI18",
        "FO18",
        "FR27",
        "GB22",
        "GE22",
        "GI23",
        "GL18",
        "GR27",
        "GT28",
        "HR21",
        "HU28",
        "IE22",
        "IL23",
        "IQ23",
        "IS26",
        "IT27",
        "JO30",
        "KW30",
        "KZ20",
        "LB28",
        "LC32",
        "LI21",
        "LT20",
        "LU20",
        "LV21",
        "LY25",
        "MC27",
        "MD24",
        "ME22",
        "MK19",
        "MR27",
        "MT31",
        "MU30",
        "NL18",
        "NO15",
        "PK24",
        "PL28",
        "PS29",
        "PT25",
        "QA29",
        "RO24",
        "RS22",
        "SA24",
        "SC31",
        "SD18",
        "SE24",
        "SI19",
        "SK24",
        "SM27",
        "ST25",
        "SV28",
        "TL23",
        "TN24",
        "TR26",
        "UA29",
        "VA22",
        "VG24",
        "XK20",
    ]
}

IPV4 = re.compile(
    r"(?<![0-9A-Za-z_.=~^<>!-])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9A-Za-z_]|\.[0-9]|-[0-9A-Za-z])"
)
IPV6 = re.compile(
    r"(?<![0-9A-Za-z_:.\[])[23][0-9A-Fa-f]{3}:(?:[0-9A-Fa-f]{0,4}:){1,6}[0-9A-Fa-f]{0,4}(?![0-9A-Za-z_:.])"
)
_VERSION_BEFORE = re.compile(r"(?:version|release|section|chapter|v|版本?|第|节|章)[ :：]?$", re.IGNORECASE)
_SMALL = 64


def is_email(match: re.Match[str]) -> bool:
    """Whether the domain ends as domains do (so `matrix@other.weight` is code) and the name is a person's."""
    domain = match.group(1)
    name, host = match.group().lower().split("@")
    ends_well = (len(domain) == 2 and domain.islower()) or domain.lower() in _LONG_DOMAINS
    return ends_well and name not in _NOBODY and not _EXAMPLE_HOST.search(host)


def is_grouped_like_phone(text: str) -> bool:
    """Whether digits are an international number, or in groups that are no decimal number and no range of pages."""
    digits = text.lstrip("+(")
    if re.fullmatch(r"[0-9]+\.[0-9]+", digits) or re.fullmatch(r"[0-9]{1,5}(?:-| - )[0-9]+", text):
        return False
    return text.startswith(("+", "00")) or re.search(r"[ ().-]", text) is not None


def is_chinese_id(number: str) -> bool:
    """Check digit of GB 11643-1999 (ISO 7064 MOD 11-2) over 18 characters."""
    total = sum(int(digit) * (2 ** (17 - place) % 11) for place, digit in enumerate(number[:17]))
    return "10X98765432"[total % 11] == number[17].upper()


def is_card(number: str) -> bool:
    """Length and first digits of a card issuer, and the Luhn check digit (ISO/IEC 7812-1)."""
    digits = re.sub("[ -]", "", number)
    if not _CARD_ISSUERS.fullmatch(digits):
        return False
    doubled = [int(d) * (1 + place % 2) for place, d in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def iban_end(text: str) -> int:
    """How many characters at the start of `text` are an IBAN (ISO 13616: country's length, mod 97 = 1), or 0."""
    length = _IBAN_LENGTHS.get(text[:2], 0)
    taken = 0
    for end, character in enumerate(text, 1):
        taken += character != " "
        if taken == length:
            compact = text[:end].replace(" ", "")
            number = "".join(str(int(c, 36)) for c in compact[4:] + compact[:4])
            return end if int(number) % 97 == 1 and not text[end : end + 1].isalnum() else 0
    return 0


def is_address(text: str, before: str) -> bool:
    """Whether an IP address can belong to a person: public, and not a version or section number.

    Four numbers all below 64 (3.1.4.1), or any after "version" and the like, are taken for a version.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv4Address) and (
        all(part < _SMALL for part in address.packed) or _VERSION_BEFORE.search(before)
    ):
        return False
    return address.is_global
