"""Prompt templates: each that is shipped says what its examples say; mistakes are named."""

from pathlib import Path

import pytest

from hanlin.base.errors import ConfigError, RequestError
from hanlin.generate.prompt_template import load_template, template_names

OWN = """
name: greet
version: 2
about: {en: A greeting.}
variables: {who: whom, mood: how}
defaults: {mood: warm}
wording:
  en: {system: "Be {{ mood }}.", text: "Greet {{ who }}."}
examples:
  - {language: en, given: {who: Lin}, text: Greet Lin.}
"""


def own(folder: Path, change: tuple[str, str] = ("", "")) -> str:
    path = folder / "greet.yaml"
    path.write_text(OWN.replace(*change) if change[0] else OWN, "utf-8")
    return str(path)


def test_the_usual_ones_are_shipped() -> None:
    assert template_names() == ["classify", "extract", "question", "rewrite", "summarise", "translate"]


@pytest.mark.parametrize("name", template_names())
def test_every_example_renders_as_it_says_in_both_languages(name: str) -> None:
    template = load_template(name)
    assert template.name == name
    assert {one.language for one in template.examples} == set(template.wording) == {"en", "zh"}
    for example in template.examples:
        assert template.render(example.given, example.language)[-1].content == example.text.strip()
        assert template.language(example.given) == example.language


def test_answers_are_held_to_schema_or_choices() -> None:
    assert load_template("classify").constraint({"text": "x", "labels": ["a", "b"]}) == {
        "choices": ("a", "b")
    }
    assert load_template("extract").constraint({"text": "x"})["json_schema"]["required"] == [
        "people",
        "places",
        "dates",
    ]
    assert load_template("summarise").constraint({"text": "x"}) == {}


def test_values_are_not_templates_themselves() -> None:
    (message,) = load_template("translate").render({"text": "{{ 7 * 7 }}", "target": "{% raw %}"})
    assert "{{ 7 * 7 }}" in message.content
    assert "{% raw %}" in message.content


def test_missing_and_unknown_variables_are_named() -> None:
    template = load_template("translate")
    with pytest.raises(RequestError, match=r"no value for target; unknown: tagret\. Did you mean target"):
        template.render({"text": "x", "tagret": "French"})
    with pytest.raises(RequestError, match="no fr; it has: en, zh"):
        template.render({"text": "x", "target": "y"}, "fr")  # type: ignore[arg-type]


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    template = load_template(own(tmp_path))
    system, user = template.render({"who": "林"})
    assert (system.content, user.content) == ("Be warm.", "Greet 林.")  # English is all that it has
    assert template.render({"who": "Lin", "mood": "cool"})[0].content == "Be cool."


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("{{ who }}", "{{ whom }}"), r"\['mood', 'whom'\] are used, \['mood', 'who'\] are declared"),
        (("{{ who }}", "{{ who"), "greet cannot be used"),
        (("version: 2", "version: 0"), "version"),
        (("about:", "abuot:"), "about"),
        (("defaults: {mood", "defaults: {moot"), "moot"),
        (("  - {language: en, given: {who: Lin}, text: Greet Lin.}", "  []"), "examples"),
    ],
)
def test_malformed_files_are_refused(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load_template(own(tmp_path, change))


def test_templates_run_in_the_sandbox(tmp_path: Path) -> None:
    template = load_template(own(tmp_path, ("{{ who }}", "{{ who.__class__.__mro__ }}")))
    with pytest.raises(ConfigError, match="cannot be used"):
        template.render({"who": "Lin"})


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean summarise"):
        load_template("summarize")
