import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import hanlin.evaluate
from hanlin.evaluate.labels import LABELS
from hanlin.evaluate.report import PANELS, RunReport, Stage, plain, render_report, write_report
from hanlin.evaluate.results import Difference, Examination, Figures, Interval, Sample

EVIL = "</pre><script>alert(1)</script><img src=http://evil.example/x onerror=alert(2)>"
VOID = {"meta", "br", "img", "hr", "input", "link"}


class Page(HTMLParser):
    """Checks that tags nest, and collects what a browser would load or run."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            assert not name.startswith("on")
            assert name not in ("src", "srcset", "data", "action")
            if name == "id":
                self.ids.append(value or "")
            if name == "href":
                self.links.append(value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def examination(documents: int = 12) -> Examination:
    interval = Interval(low=1.9, high=2.1) if documents > 1 else None
    figures = {
        name: Figures(
            bits_per_byte=value,
            bits_per_byte_interval=interval,
            bits_per_character=value * 1.2,
            perplexity=90.0,
            seconds=0.5,
        )
        for name, value in (("transformer", 1.8), ("n-gram", 2.0), ("uniform", 3.4))
    }
    difference = Difference(
        first="transformer",
        second="n-gram",
        bits_per_byte=-0.2,
        interval=Interval(low=-0.25, high=-0.15) if documents > 1 else None,
    )
    return Examination(
        split="test",
        documents=documents,
        documents_in_split=documents + 5,
        tokens=1000,
        bytes=3000,
        characters=2500,
        ngram_order=5,
        ngram_tokens=50_000,
        ngram_tokens_in_split=60_000,
        ngram_seconds=0.1,
        models=figures,
        differences=(difference,),
    )


def full(**changes: Any) -> RunReport:
    everything: dict[str, Any] = {
        "title": "first-light " + EVIL,
        "machine": "cpu, 2 threads",
        "configuration": {"model": {"width": 64, "tied": True}, "paths": [EVIL], "nothing": None},
        "lineage": (
            Stage("tokenizer", EVIL, "tokenizer", "0123456789abcdef", {"corpus": "fedcba9876543210"}),
        ),
        "curves": [
            {
                "step": 10 * i,
                "loss": 8 / i,
                "gradient_norm": 1.0,
                **({"valid_loss": 8.5 / i} if i % 3 == 0 else {}),
            }
            for i in range(1, 20)
        ],
        "corpus": {
            "read": 10,
            "steps": [
                {
                    "name": EVIL,
                    "documents_in": 10,
                    "documents_out": 8,
                    "documents_changed": 0,
                    "characters_in": 1000,
                    "characters_out": 800,
                    "reasons": {
                        EVIL: {"count": 2, "characters": 200, "samples": [{"source": EVIL, "text": EVIL}]},
                        "tallied": {"count": 7},
                    },
                }
            ],
            "rows": [{"step": EVIL, "samples": [EVIL, "第二\n行"]}, {"other": EVIL}],
            EVIL: {"x": EVIL},
        },
        "tokenizer": {
            "bytes_per_token": 3.61,
            "round_trip_samples": [],
            "tokens_per_character": {"han": 0.9},
        },
        "samples": (Sample(prompt=EVIL, continuation=EVIL), Sample(prompt="从前", continuation="")),
        "examination": examination(),
        "plan": {"parameters": 1_234_567, "seconds": 200.0},
    }
    return RunReport(**{**everything, **changes})


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_full_page_is_well_formed_and_loads_and_runs_nothing(tmp_path: Path, lang: Any) -> None:
    write_report(tmp_path / "report.html", full(), lang)
    html = (tmp_path / "report.html").read_text("utf-8")
    page = Page(html)
    assert not page.tags & {"script", "img", "link", "iframe", "object", "embed", "form"}
    assert not re.search(r"url\(|@import", html)
    assert "default-src 'none'" in html
    assert page.links == [f"#{name}" for name in page.ids]
    assert len(page.ids) == 8
    assert EVIL in page.text


def test_the_page_says_what_was_found_in_both_languages() -> None:
    english, chinese = Page(render_report(full(), "en")).text, Page(render_report(full(), "zh")).text
    assert "0.200 bits per byte better than the n-gram model" in english
    assert "-0.250 to -0.150, more than chance" in english
    assert "12 (drawn at random) of 17 documents" in english
    assert "50,000 of 60,000 tokens" in english
    assert "8 means no knowledge" in english
    assert "1,234,567" in english
    assert "每字节比 n 元模型少 0.200 比特，更好" in chinese
    assert "从 17 篇中随机抽取的" in chinese
    assert "8 表示毫无知识" in chinese


def test_the_same_run_gives_the_same_bytes() -> None:
    assert render_report(full()) == render_report(full())


def test_what_is_not_there_is_left_out() -> None:
    page = Page(render_report(RunReport(title="nothing")))
    assert page.ids == []
    assert "svg" not in page.tags


@pytest.mark.parametrize(
    "rows", [[], [{"step": 1, "loss": None}], [{"step": 1, "loss": "nan"}], [{"step": 1, "speed": 3.0}]]
)
def test_training_without_a_number_says_so(rows: list[dict[str, Any]]) -> None:
    page = Page(render_report(RunReport(title="empty", curves=rows)))
    assert page.ids == ["training"]
    assert "No step of training was recorded" in page.text


def test_gaps_and_thinned_lines_are_told() -> None:
    rows: list[dict[str, Any]] = [
        {"step": i, "loss": float("nan") if i == 5 else 2.0 + i % 3} for i in range(5000)
    ]
    text = Page(render_report(RunReport(title="long", curves=rows))).text
    assert "1 values are not finite" in text
    assert "5,000 points are drawn as" in text


def test_one_document_has_no_interval_and_the_page_says_why() -> None:
    text = Page(render_report(full(examination=examination(documents=1)))).text
    assert "With one document there is no interval" in text
    assert "one document cannot say" in text


def test_long_lists_and_texts_are_cut_and_counted() -> None:
    corpus = {"samples": ["长" * 2000], "rows": [{"n": i} for i in range(25)], "list": list(range(41))}
    text = Page(render_report(RunReport(title="long", corpus=corpus))).text
    assert "and 500 more characters" in text
    assert "and 5 more rows" in text
    assert "and 1 more entries" in text


def test_short_lists_stand_in_one_line() -> None:
    page = Page(
        render_report(RunReport(title="short", configuration={"model": {"kinds": ["a", "<b>", 3, [1]]}}))
    )
    assert "a, <b>, 3, [1]" in page.text
    assert "ul" not in page.tags


def test_every_label_is_used_and_every_word_used_is_a_label() -> None:
    room = Path(hanlin.evaluate.__file__).parent
    sources = "".join(
        path.read_text("utf-8") for path in [*room.glob("templates/*.jinja"), room / "report.py"]
    )
    for name in LABELS:
        stem = name.removesuffix("_help")
        known = stem in {panel.name for panel in PANELS} | {
            metric for panel in PANELS for metric in panel.metrics
        }
        assert known or f'"{stem}"' in sources or stem in examination().models, name
    for name in re.findall(r'say\("(\w+)"\)', sources):
        assert name in LABELS
    for text in LABELS.values():
        assert text.en != text.zh


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "none"),
        (True, "yes"),
        (1234567, "1,234,567"),
        (0.123456, "0.1235"),
        (float("nan"), "nan"),
        ("a", "a"),
    ],
)
def test_values_are_written_as_people_write_them(value: object, words: str) -> None:
    assert plain(value, "en") == words
