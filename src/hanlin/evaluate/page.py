"""One self-contained HTML page of a table, sentences and plots: no script, nothing loaded, every text escaped."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from hanlin.base.files import write_text
from hanlin.base.language import Text
from hanlin.evaluate.chart import Chart
from hanlin.evaluate.labels import Lang


@dataclass(frozen=True)
class Plot:
    """A chart with its heading, its sentence, and the number and name of each line."""

    title: Text
    help: Text
    chart: Chart
    lines: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class Page:
    """What kind of page, of what, on which machine; bars and a table under a heading, sentences below, then plots."""

    kind: Text
    title: str
    machine: str
    heading: Text
    columns: Sequence[Text]
    rows: Sequence[Sequence[str]]
    sentences: Sequence[Text]
    plots: Sequence[Plot]
    bars: Markup | None = None


def write_page(path: Path, page: Page, lang: Lang = "en") -> None:
    """Write the page in English or Chinese, whole or not at all."""
    write_template(path, "page.html.jinja", lang, page=page)


def write_template(path: Path, name: str, lang: Lang, **values: Any) -> None:
    """Write a page of `templates/` with the values that it asks for, in English or Chinese, whole or not at all."""
    environment = Environment(
        loader=PackageLoader("hanlin.evaluate", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(say=lambda text: in_language(text, lang), Text=Text, lang=lang)
    write_text(path, environment.get_template(name).render(values))


def in_language(text: Text, lang: Lang) -> str:
    """A text in the language of a page."""
    return text.zh if lang == "zh" else text.en
