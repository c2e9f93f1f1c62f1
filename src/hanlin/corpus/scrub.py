"""Personal data replaced by tags: <EMAIL> <IBAN> <CHINESE_ID> <CARD> <PHONE> <IP>."""

import re
from collections import Counter
from collections.abc import Callable, Sequence

from hanlin.base.errors import ConfigError, MissingExtra
from hanlin.base.language import Text
from hanlin.corpus import personal_data as data
from hanlin.corpus.config import PersonalData, ScrubConfig

Scrubber = Callable[[str, Counter[str]], str]
"""From a text to the text with tags, counting what was replaced."""

_DIGITS = re.compile(r"[0-9](?:[^0-9\n]{0,3}[0-9]){5}")
_ADDRESS_RUN = re.compile(r"[!-~]*$")


def scrubber(config: ScrubConfig) -> Scrubber:
    """A function that replaces the configured kinds; it changes nothing else and is idempotent.

    Raises `MissingExtra` where phones are asked for and `phonenumbers` is not installed, `ConfigError` for an
    unknown phone region.
    """
    steps: dict[PersonalData, Scrubber] = {
        "email": _emails,
        "iban": _ibans,
        "chinese_id": _chinese_ids,
        "card": _cards,
        "phone": _phones(config.phone_regions) if "phone" in config.kinds else _unchanged,
        "ip": _addresses,
    }
    chosen = [step for kind, step in steps.items() if kind in config.kinds] if config.enabled else []

    def scrub(text: str, counts: Counter[str]) -> str:
        for step in chosen:
            text = step(text, counts)
        return text

    return scrub


def _unchanged(text: str, counts: Counter[str]) -> str:
    return text


def _replace(
    pattern: re.Pattern[str],
    text: str,
    tag: str,
    counts: Counter[str],
    accept: Callable[[re.Match[str]], bool],
) -> str:
    def tagged(match: re.Match[str]) -> str:
        if not accept(match):
            return match.group()
        counts[tag] += 1
        return f"<{tag}>"

    return pattern.sub(tagged, text)


def _emails(text: str, counts: Counter[str]) -> str:
    return _replace(data.EMAIL, text, "EMAIL", counts, data.is_email) if "@" in text else text


def _ibans(text: str, counts: Counter[str]) -> str:
    if not _DIGITS.search(text):
        return text

    def tagged(match: re.Match[str]) -> str:
        end = data.iban_end(match.group())
        if not end:
            return match.group()
        counts["IBAN"] += 1
        return f"<IBAN>{match.group()[end:]}"

    return data.IBAN.sub(tagged, text)


def _chinese_ids(text: str, counts: Counter[str]) -> str:
    return _replace(data.CHINESE_ID, text, "CHINESE_ID", counts, lambda m: data.is_chinese_id(m.group()))


def _cards(text: str, counts: Counter[str]) -> str:
    def accept(match: re.Match[str]) -> bool:
        return data.is_card(match.group()) and not _in_web_address(match)

    return _replace(data.CARD, text, "CARD", counts, accept) if _DIGITS.search(text) else text


def _phones(regions: Sequence[str]) -> Scrubber:
    try:
        import phonenumbers
    except ImportError as error:
        raise MissingExtra(Text("Finding phone numbers", "识别电话号码"), "data") from error
    for region in regions:
        if region not in phonenumbers.SUPPORTED_REGIONS:
            raise ConfigError(
                Text(
                    f"scrub.phone_regions: '{region}' is unknown.",
                    f"scrub.phone_regions：未知地区“{region}”。",
                ),
                Text("Use ISO 3166 codes such as US, GB, DE.", "请使用 ISO 3166 代码，如 US、GB、DE。"),
            )

    def is_phone(match: re.Match[str]) -> bool:
        text = match.group()
        if text.startswith(("+", "00")):
            tried, leniency = ["ZZ"], phonenumbers.Leniency.POSSIBLE
            text = re.sub(r"^00", "+", text)
        else:
            tried, leniency = list(regions), phonenumbers.Leniency.STRICT_GROUPING
        if not data.is_grouped_like_phone(match.group()) or _in_web_address(match):
            return False
        return any(phonenumbers.PhoneNumberMatcher(text, region, leniency).has_next() for region in tried)

    def phones(text: str, counts: Counter[str]) -> str:
        if not _DIGITS.search(text):
            return text
        text = _replace(data.CHINESE_MOBILE, text, "PHONE", counts, _is_chinese_mobile)
        text = _replace(
            data.CHINESE_LANDLINE, text, "PHONE", counts, lambda match: not _in_web_address(match)
        )
        return _replace(data.OTHER_PHONE, text, "PHONE", counts, is_phone)

    return phones


def _is_chinese_mobile(match: re.Match[str]) -> bool:
    """Eleven digits alone are a phone only in Chinese text or after a word such as "tel"; grouped, anywhere."""
    if _in_web_address(match):
        return False
    around = match.string[max(0, match.start() - 30) : match.end() + 30]
    return len(match.group()) > 11 or data.PHONE_CONTEXT.search(around) is not None


def _addresses(text: str, counts: Counter[str]) -> str:
    def accept(match: re.Match[str]) -> bool:
        return data.is_address(match.group(), match.string[max(0, match.start() - 12) : match.start()])

    if text.count(".") >= 3:
        text = _replace(data.IPV4, text, "IP", counts, accept)
    return _replace(data.IPV6, text, "IP", counts, accept) if text.count(":") >= 3 else text


def _in_web_address(match: re.Match[str]) -> bool:
    """Whether the number is part of a URL, where it names a page and not a person."""
    run = _ADDRESS_RUN.search(match.string, max(0, match.start() - 200), match.start())
    return run is not None and ("://" in run.group() or "www." in run.group())
