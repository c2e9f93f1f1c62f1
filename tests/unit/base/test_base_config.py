from pathlib import Path

import pytest
from pydantic import Field, ValidationError

from hanlin.base.config import Settings, read_settings, settings_from_overrides
from hanlin.base.errors import ConfigError
from hanlin.corpus.config import CorpusConfig
from hanlin.model.config import CoreConfig


class Training(Settings):
    steps: int = Field(10, ge=1)
    learning_rate: float = 0.1
    betas: tuple[float, ...] = (0.9, 0.99)


class Recipe(Settings):
    folder: str
    training: Training = Training()
    corpus: CorpusConfig | None = None
    model: CoreConfig | None = None


@pytest.fixture
def read(tmp_path):
    """Settings from a text and overrides; the text of the mistake where there is one."""

    def read(text, *overrides):
        (tmp_path / "recipe.yaml").write_text(text, "utf-8")
        return read_settings(Recipe, tmp_path / "recipe.yaml", overrides)

    return read


@pytest.fixture
def mistake(read):
    def mistake(text, *overrides):
        with pytest.raises(ConfigError) as caught:
            read(text, *overrides)
        assert caught.value.problem.zh != caught.value.problem.en
        return caught.value.problem.en

    return mistake


def test_a_recipe_says_only_what_differs_and_overrides_come_last(read):
    recipe = read("folder: out\ntraining:\n  steps: 3\n", "training.steps=5", "training.betas=[0.5,0.6]")
    assert recipe.training == Training(steps=5, betas=(0.5, 0.6))
    assert recipe.training.learning_rate == 0.1


@pytest.mark.parametrize(("written", "value"), [("1e-3", 0.001), ("3e4", 30000.0), ("1E-3", 0.001)])
def test_exponents_without_a_point_are_numbers(read, written, value):
    assert read(f"folder: x\ntraining: {{learning_rate: {written}}}").training.learning_rate == value
    assert read("folder: x", f"training.learning_rate={written}").training.learning_rate == value


def test_settings_are_frozen(read):
    with pytest.raises(ValidationError):
        read("folder: x").folder = "y"


def test_an_unknown_key_names_the_line_and_the_nearest_key(mistake):
    text = mistake("folder: x\n\ntraining:\n  steps: 3\n  learning_rat: 1\n")
    assert text.endswith("recipe.yaml:5: unknown key 'training.learning_rat'. Did you mean 'learning_rate'?")


def test_a_key_that_resembles_none_gets_no_guess(mistake):
    assert mistake("folder: x\nzzz: 1\n").endswith("recipe.yaml:2: unknown key 'zzz'.")


def test_an_unknown_override_is_named_itself(mistake):
    assert mistake("folder: x\n", "training.step=3") == (
        "training.step=3: unknown key 'training.step'. Did you mean 'steps'?"
    )
    assert mistake("folder: x\n", "trainin.steps=3") == (
        "trainin.steps=3: unknown key 'trainin'. Did you mean 'training'?"
    )


def test_the_shorthand_of_a_section_is_a_known_key(mistake):
    assert mistake("folder: x\nmodel: {styl: gpt2}\n").endswith("Did you mean 'style'?")


def test_every_mistake_is_listed_with_its_own_line(mistake):
    lines = mistake("folder: x\ntraining:\n  steps: many\n  learning_rate: []\n").splitlines()
    assert [line.split("recipe.yaml:")[1][0] for line in lines] == ["3", "4"]
    assert "training.steps" in lines[0]
    assert "'many'" in lines[0]


def test_a_wrong_value_is_laid_on_the_override_that_gave_it(mistake):
    assert mistake("folder: x\ntraining: {steps: 4}\n", "training.steps=0").startswith("training.steps=0: ")


def test_an_override_elsewhere_in_the_section_is_not_blamed_alone(mistake):
    text = mistake("folder: x\nmodel:\n  width: 10\n  heads: 3\n", "model.layers=6")
    assert "recipe.yaml:2 + model.layers=6: model: width 10 is not divisible by heads 3" in text


def test_a_missing_key_is_named(mistake):
    assert mistake("training: {steps: 1}\n").endswith("recipe.yaml: 'folder' is missing.")


SOURCES = """folder: x
corpus:
  sources:
    - texts/*.txt
    - kind: files
      path: a
      max_charactrs: 5
    - kind: python-docs
      packages: 3
"""


def test_mistakes_inside_a_union_have_their_line_and_their_key_as_written(mistake):
    unknown, *wrong = mistake(SOURCES).splitlines()
    assert unknown.endswith(
        "recipe.yaml:7: unknown key 'corpus.sources.1.max_charactrs'. Did you mean 'max_characters'?"
    )
    assert len(wrong) == 2  # neither of the two kinds of value that `packages` may have
    assert all("recipe.yaml:9: corpus.sources.2.packages: " in line for line in wrong)


def test_an_unknown_branch_of_a_union_names_the_branches(mistake):
    text = mistake("folder: x\ncorpus:\n  sources:\n    - kind: filez\n")
    assert "recipe.yaml:4: corpus.sources.0: a source is a path, or has kind: files, python-docs" in text
    assert len(text.splitlines()) == 1


def test_a_key_given_twice_is_refused(mistake):
    text = mistake("folder: x\ntraining:\n  steps: 1\n  steps: 2\n")
    assert text.endswith("recipe.yaml is not valid YAML: line 4: key 'steps' appears twice")


@pytest.mark.parametrize(
    "text",
    [
        "folder: [",
        "- a\n- b\n",
        "folder: {{name}}\n",
        "folder: a: b\n",
        "folder: ${missing}\n",
        "\tfolder: x",
    ],
)
def test_what_is_no_yaml_mapping_is_refused(mistake, text):
    assert "recipe.yaml is not valid YAML: " in mistake(text)


def test_binary_and_absent_files_are_refused(tmp_path):
    (tmp_path / "binary.yaml").write_bytes(b"\x00\xff\xfe")
    for name in ("binary.yaml", "absent.yaml", "."):
        with pytest.raises(ConfigError, match="Cannot read"):
            read_settings(Recipe, tmp_path / name)


@pytest.mark.parametrize("override", ["training.steps", "training.betas=[1", "corpus.sources.0.path=b"])
def test_an_override_that_cannot_be_applied_is_named(mistake, override):
    text = mistake("folder: x\ncorpus: {sources: [a]}\n", override)
    assert text.startswith(f"Override {override!r} cannot be applied: ")


def test_overrides_alone_make_settings():
    assert settings_from_overrides(Training, ["steps=7"]) == Training(steps=7)
    for wrong in ("step=7", "steps=[1", "steps"):
        with pytest.raises(ConfigError, match="steps"):
            settings_from_overrides(Training, [wrong])


def test_a_style_that_is_no_name_is_refused(mistake):
    assert "style ['gpt2'] is not known; choose one of llama, gpt2" in mistake(
        "folder: x\nmodel: {style: [gpt2]}\n"
    )


def test_a_recipe_means_the_same_in_every_environment(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("folder: ${oc.env:HOME}\n", "utf-8")
    with pytest.raises(ConfigError, match="environment"):
        read_settings(Recipe, path)


def test_reasons_are_in_the_language_of_the_message(read):
    text = "folder: x\ntraining: {steps: 0, learning_rate: fast}\ncorpus: 3\n"
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert "应不小于 1" in caught.value.problem.zh
    assert "应为数字" in caught.value.problem.zh
    assert "Input should" not in caught.value.problem.zh
    assert "corpus: must be `key: value` settings" in caught.value.problem.en
