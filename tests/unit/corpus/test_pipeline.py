import itertools
import json
import random

import pytest

from hanlin.base.errors import CheckpointError, DataError
from hanlin.base.manifest import read_manifest, verify_files
from hanlin.corpus.config import CorpusConfig, SplitConfig
from hanlin.corpus.pipeline import build_corpus
from hanlin.corpus.shards import count_documents, read_documents
from hanlin.corpus.split import choose_split

WORDS = [
    "river",
    "stone",
    "light",
    "paper",
    "garden",
    "winter",
    "letter",
    "answer",
    "morning",
    "engine",
    "market",
    "bridge",
    "silver",
    "travel",
    "story",
]
HAN = "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏闰余成岁律吕调阳云腾致雨露结为霜金生丽水玉出昆冈"


def sentences(seed, count):
    draw = random.Random(seed)
    return [
        " ".join(draw.choices(WORDS, k=12)).capitalize() + f" number {draw.randrange(10**6)}."
        for _ in range(count)
    ]


def write_sources(folder):
    """60 English documents, 40 Chinese ones, and one of every thing that a step must catch."""
    draw = random.Random(1)
    english = [" ".join(sentences(i, 6)) for i in range(60)]
    chinese = ["".join(draw.choices(HAN, k=80)) + "。" for _ in range(40)]
    rows = [*english, english[0], english[1].replace("number", "count", 1), "短", "buy now " * 40,
            english[2] + " Write to anna@firm.co.uk or call 13812345678, tel.", "bad\ud800half " + english[3][:200]]  # fmt: skip
    (folder / "en.jsonl").write_text("".join(json.dumps({"text": row}) + "\n" for row in rows), "utf-8")
    zh = folder / "zh"
    zh.mkdir()
    for number, text in enumerate(chinese):
        (zh / f"{number:02}.txt").write_bytes(f"　　{text}\r\n".encode("gb18030"))
    return {"sources": [{"path": str(folder / "en.jsonl"), "licence": "CC0-1.0"}, str(zh)],
            "split": {"valid": 0.1, "test": 0.1}}  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    config = CorpusConfig.model_validate(write_sources(folder))
    out = tmp_path_factory.mktemp("built") / "corpus"
    build_corpus(config, out)
    return config, out, json.loads((out / "report.json").read_text("utf-8"))


def step(report, name):
    return next(entry for entry in report["steps"] if entry["name"] == name)


def test_building_twice_gives_the_same_bytes(built, tmp_path):
    config, out, _ = built
    build_corpus(config, tmp_path / "again")
    names = sorted(path.relative_to(out) for path in out.rglob("*") if path.is_file())
    assert names == sorted(
        p.relative_to(tmp_path / "again") for p in (tmp_path / "again").rglob("*") if p.is_file()
    )
    for name in names:
        assert (out / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


def test_every_document_is_accounted_for(built):
    _, out, report = built
    steps = report["steps"]
    assert [s["name"] for s in steps] == [
        "normalize",
        "filter",
        "language",
        "scrub",
        "exact duplicates",
        "near duplicates",
    ]
    assert steps[0]["documents_in"] == sum(source["documents_read"] for source in report["sources"]) == 106
    for before, after in itertools.pairwise(steps):
        assert before["documents_out"] == after["documents_in"]
        assert before["characters_out"] == after["characters_in"]
    documents = list(read_documents(out))
    assert (
        len(documents) == steps[-1]["documents_out"] == report["total"]["documents"] == count_documents(out)
    )
    assert sum(len(d.text) for d in documents) == steps[-1]["characters_out"]
    assert sum(source["share_of_characters"] for source in report["sources"]) == pytest.approx(1, abs=1e-5)


def test_each_step_caught_what_was_planted(built):
    _, out, report = built
    assert {k: v["count"] for k, v in step(report, "filter")["reasons"].items()} == {
        "one repeated phrase": 1,
        "too short": 1,
    }
    assert step(report, "exact duplicates")["reasons"]["repeats an earlier document"]["count"] == 1
    assert step(report, "near duplicates")["reasons"]["near copy of an earlier document"]["count"] >= 1
    assert report["sources"][1]["encodings"] == {"gb18030": 40}
    assert set(report["languages"]) == {"en", "zh"}
    text = "\n".join(document.text for document in read_documents(out))
    assert "anna@" not in text
    assert not any(document.text.startswith("　") for document in read_documents(out))


def test_report_and_card_hold_no_personal_data(built):
    _, out, report = built
    assert step(report, "scrub")["reasons"]["<EMAIL>"]["count"] == 1
    for name in ("report.json", "CARD.md", "hanlin.json"):
        content = (out / name).read_text("utf-8")
        assert "anna@" not in content
        assert "13812345678" not in content


def test_manifest_records_and_splits(built):
    config, out, report = built
    manifest = read_manifest(out, "corpus")
    verify_files(out, manifest)
    assert CorpusConfig.model_validate(manifest.config) == config
    for split in ("train", "valid", "test"):
        documents = list(read_documents(out, split))
        assert {document.split for document in documents} == {split}
        assert len(documents) == count_documents(out, split) == report["splits"][split]["documents"]
    assert {document.licence for document in read_documents(out)} == {"CC0-1.0", ""}


def test_shards_are_cut_by_size_and_read_in_order(built, tmp_path):
    config, out, _ = built
    build_corpus(config.model_copy(update={"shard_characters": 5_000}), tmp_path / "small")
    assert len(list((tmp_path / "small/train").iterdir())) > 3
    assert [d.id for d in read_documents(tmp_path / "small", "train")] == [
        d.id for d in read_documents(out, "train")
    ]


def test_kept_copies_stand_on_one_side(tmp_path):
    rows = []
    for i in range(120):
        text = " ".join(sentences(i, 8))
        rows += [text, text.replace("number", "count", 1), text]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": row}) + "\n" for row in rows), "utf-8")
    values = {"sources": [str(tmp_path / "a.jsonl")], "deduplicate": {"exact": "keep", "near": "keep"},
              "split": {"valid": 0.3, "test": 0.3}}  # fmt: skip
    build_corpus(CorpusConfig.model_validate(values), tmp_path / "out")
    sides = {document.text: document.split for document in read_documents(tmp_path / "out")}
    assert count_documents(tmp_path / "out") == 360
    assert all(sides[rows[i]] == sides[rows[i + 1]] for i in range(0, 360, 3))
    assert len(set(sides.values())) == 3


def test_a_source_can_name_its_side(tmp_path):
    for name, seed in (("train", 0), ("valid", 1)):
        rows = [json.dumps({"text": " ".join(sentences(100 * seed + i, 8))}) for i in range(30)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(rows) + "\n", "utf-8")
    paths = {name: str(tmp_path / f"{name}.jsonl") for name in ("train", "valid")}
    sources = [{"kind": "files", "path": path, "split": name} for name, path in paths.items()]
    config = CorpusConfig.model_validate({"sources": sources, "split": {"valid": 0, "test": 0}})
    build_corpus(config, tmp_path / "out")
    sides = {(document.source, document.split) for document in read_documents(tmp_path / "out")}
    assert sides == {(path, name) for name, path in paths.items()}
    assert [config.has(side) for side in ("train", "valid", "test")] == [True, True, False]


def test_more_documents_never_move_one_that_was_there():
    keys = [bytes([i, j] * 8) for i in range(20) for j in range(20)]
    small = {key: choose_split(key, SplitConfig(valid=0.1, test=0.1)) for key in keys}
    assert {"train", "valid", "test"} == set(small.values())
    assert 0.05 < sum(side == "test" for side in small.values()) / len(keys) < 0.16
    other = {key: choose_split(key, SplitConfig(valid=0.1, test=0.1, seed=1)) for key in keys}
    assert other != small


def test_empty_split_is_an_error_and_leaves_nothing(tmp_path):
    (tmp_path / "a.txt").write_text(" ".join(sentences(0, 5)), "utf-8")
    config = CorpusConfig.model_validate({"sources": [str(tmp_path / "a.txt")]})
    with pytest.raises(DataError) as caught:
        build_corpus(config, tmp_path / "out")
    assert "1 document" in caught.value.problem.en
    assert "split.valid" in caught.value.remedy.zh
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt"]
    build_corpus(config.model_copy(update={"split": SplitConfig(valid=0, test=0)}), tmp_path / "out")
    assert count_documents(tmp_path / "out", "train") == 1


def test_nothing_left_says_so(tmp_path):
    (tmp_path / "a.txt").write_text("短", "utf-8")
    with pytest.raises(DataError, match="No document is left of 1 read"):
        build_corpus(CorpusConfig.model_validate({"sources": [str(tmp_path)]}), tmp_path / "out")


def test_language_allow_list(built, tmp_path):
    config, _, _ = built
    config = CorpusConfig.model_validate({**config.model_dump(), "language": {"keep": ["zh"]}})
    build_corpus(config, tmp_path / "zh")
    report = json.loads((tmp_path / "zh/report.json").read_text("utf-8"))
    assert set(report["languages"]) == {"zh"}
    assert step(report, "language")["reasons"]["language en"]["count"] >= 60


def test_damaged_shard_and_foreign_folder(built, tmp_path):
    config, _, _ = built
    build_corpus(config, tmp_path / "out")
    (tmp_path / "out/train/00000.parquet").write_bytes(b"PAR1 gone")
    with pytest.raises(CheckpointError, match="damaged"):
        list(read_documents(tmp_path / "out"))
    with pytest.raises(CheckpointError):
        list(read_documents(tmp_path))


def test_what_was_dropped_is_said_when_nothing_is_left(tmp_path):
    (tmp_path / "a.txt").write_text("hi", "utf-8")
    config = CorpusConfig.model_validate({"sources": [str(tmp_path / "a.txt")]})
    with pytest.raises(DataError, match=r"No document is left of 1 read: .* 1") as caught:
        build_corpus(config, tmp_path / "corpus")
    assert "一篇不剩：" in caught.value.problem.zh
