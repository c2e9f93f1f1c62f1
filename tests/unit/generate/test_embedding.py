"""Sentence vectors: what they are, that batches change nothing, what is read from a folder, and `hanlin embed`."""

import json
import resource
import signal
import sys

import numpy as np
import pytest
import tokenizers
import torch
from tokenizers import models, normalizers, pre_tokenizers, processors

import hanlin
from hanlin.base.errors import CheckpointError, DiskError, HanlinError, RequestError
from hanlin.checkpoint.defaults import GenerationDefaults
from hanlin.checkpoint.folder import save_model
from hanlin.cli.main import app
from hanlin.generate import embedding
from hanlin.generate.embedding import load_encoder, similarity
from hanlin.model.assemble import build_model
from hanlin.model.config import CoreConfig
from hanlin.stages.convert import run_convert
from hanlin.stages.embed import write_vectors
from hanlin.tokenizer.tokenizer import Tokenizer

WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "a",
    "cat",
    "dog",
    "sat",
    "ran",
    "the",
    "翰",
    "林",
    "##s",
]
TEXTS = [
    "the cat sat",
    "a dog",
    "翰林",
    "the dogs ran the cats ran the dog sat",
    "a",
    "the cat sat the cat sat",
]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """BERT's: WordPiece, [CLS] before and [SEP] behind."""
    folder = tmp_path_factory.mktemp("wordpiece")
    vocabulary = {word: id for id, word in enumerate(WORDS)}
    rust = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    rust.normalizer = normalizers.BertNormalizer()
    rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    rust.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    rust.add_special_tokens(WORDS[:5])
    rust.save(str(folder / "tokenizer.json"))
    named = {"cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]", "pad": "[PAD]", "unk": "[UNK]"}
    values = {f"{role}_token": token for role, token in named.items()} | {"tokenizer_class": "BertTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(values))
    return Tokenizer.load(folder)


@pytest.fixture
def folder(tokenizer, tmp_path):
    """Saves a tiny random model; `modules` makes it a folder of sentence-transformers."""

    def folder(modules=None, pooling=None, sentence=None, general=None, **settings):
        shape = {"style": "bert", "width": 16, "layers": 2, "heads": 2, "window": 24}
        torch.manual_seed(0)
        model = build_model(CoreConfig.model_validate({"vocab_size": len(WORDS), **shape, **settings}))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.3)
        path = tmp_path / "tiny"
        save_model(path, model.eval(), tokenizer, GenerationDefaults(), {}, {})
        if modules is not None:
            places = {"Pooling": "1_Pooling"}
            listed = [
                {"type": f"sentence_transformers.models.{m}", "path": places.get(m, "")} for m in modules
            ]
            (path / "modules.json").write_text(json.dumps(listed))
            (path / "1_Pooling").mkdir()
            (path / "1_Pooling" / "config.json").write_text(json.dumps(pooling or {}))
            (path / "sentence_bert_config.json").write_text(json.dumps(sentence or {}))
            (path / "config_sentence_transformers.json").write_text(json.dumps(general or {}))
        return path

    return folder


# Vectors.


@pytest.mark.parametrize("pooling", ["first", "mean", "last"])
def test_a_vector_is_the_pooled_hidden_state(folder, pooling):
    encoder = load_encoder(folder(), pooling=pooling)
    ids = [WORDS.index(word) for word in ["[CLS]", "the", "cat", "##s", "sat", "[SEP]"]]
    with torch.no_grad():
        hidden_TC = encoder.model.hidden(torch.tensor([ids]))[0]
    expected_C = {"first": hidden_TC[0], "mean": hidden_TC.mean(0), "last": hidden_TC[-1]}[pooling]
    (vector_C,) = encoder.embed(["The cats sat"]).vectors_NC
    np.testing.assert_allclose(vector_C, expected_C, atol=1e-6)


def test_normalised_vectors_have_length_one_and_the_same_direction(folder):
    path = folder()
    plain = load_encoder(path).embed(TEXTS).vectors_NC
    unit = load_encoder(path, normalize=True).embed(TEXTS).vectors_NC
    lengths = np.linalg.norm(plain, axis=1, keepdims=True)
    assert np.abs(lengths - 1).min() > 0.1
    np.testing.assert_allclose(unit, plain / lengths, atol=1e-6)


@pytest.mark.parametrize("style", ["bert", "llama"])
@pytest.mark.parametrize("at_once", [1, 20, 4096])
def test_neither_batch_nor_order_changes_a_vector(folder, monkeypatch, style, at_once):
    encoder = load_encoder(folder(style=style), "cpu")
    alone = np.concatenate([encoder.embed([text]).vectors_NC for text in TEXTS])
    assert np.abs(alone[0] - alone[1]).max() > 0.1
    monkeypatch.setattr(embedding, "TOKENS_AT_ONCE", {"cpu": at_once})
    together = encoder.embed(TEXTS).vectors_NC
    assert (together.dtype, together.shape) == (np.float32, (6, 16))
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(encoder.embed(TEXTS[::-1]).vectors_NC[::-1], alone, atol=1e-5)


def test_texts_are_cut_between_begin_and_end_and_named(folder):
    encoder = load_encoder(folder(), max_tokens=5)
    embedded = encoder.embed(TEXTS)
    assert embedded.cut == (3, 5)
    np.testing.assert_allclose(embedded.vectors_NC[5], embedded.vectors_NC[0], atol=1e-6)
    assert load_encoder(folder()).embed(TEXTS).cut == ()


def test_no_texts_give_no_vectors(folder):
    assert load_encoder(folder()).embed([]).vectors_NC.shape == (0, 16)


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_text_is_refused(folder, text):
    with pytest.raises(RequestError, match="Text 2 is empty"):
        load_encoder(folder()).embed(["a", text])


def test_similarity_is_the_cosine():
    vectors_NC = np.array([[3, 4], [4, 3], [-6, -8]], np.float32)
    np.testing.assert_allclose(
        similarity(vectors_NC), [[1, 0.96, -1], [0.96, 1, -0.96], [-1, -0.96, 1]], atol=1e-6
    )


def test_the_python_interface(folder):
    path = folder()
    vectors_NC = hanlin.embed(TEXTS, path)
    assert np.array_equal(vectors_NC, hanlin.load_encoder(path).embed(TEXTS).vectors_NC)
    assert isinstance(hanlin.load_encoder(path), hanlin.SentenceEncoder)


# What a folder says.


def test_a_plain_encoder_is_averaged_and_a_decoder_ends_in_its_last_token(folder):
    assert load_encoder(folder()).settings == ("mean", False, 24, False, "", "")
    assert load_encoder(folder(style="llama")).settings.pooling == "last"


ALL = ("Transformer", "Pooling", "Normalize")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"modules": ALL, "pooling": {"pooling_mode_cls_token": True}}, ("first", True, 24)),
        ({"modules": ALL[:2], "pooling": {"pooling_mode_mean_tokens": True}}, ("mean", False, 24)),
        ({"modules": ALL, "pooling": {"pooling_mode_lasttoken": True, "pooling_mode_cls_token": False}}, ("last", True, 24)),
        ({"modules": ALL, "pooling": {"pooling_mode": "cls"}, "sentence": {"max_seq_length": 9}}, ("first", True, 9)),
        ({"modules": ALL, "sentence": {"max_seq_length": 512}}, ("mean", True, 24)),
        ({"modules": ALL, "sentence": {"max_seq_length": None}}, ("mean", True, 24)),
    ],
)  # fmt: skip
def test_a_sentence_transformers_folder_is_heeded(folder, given, expected):
    settings = load_encoder(folder(**given)).settings
    assert settings[:3] == expected
    assert settings.source.startswith("modules.json, 1_Pooling/config.json")


def test_a_converted_model_turns_texts_into_the_same_vectors(folder, tmp_path):
    general = {"prompts": {"query": "the "}, "default_prompt_name": "query"}
    path = folder(ALL, {"pooling_mode_cls_token": True}, {"max_seq_length": 5}, general)
    report = run_convert(path, tmp_path / "copy", "float32", None)
    assert load_encoder(tmp_path / "copy").settings == load_encoder(path).settings
    before, after = load_encoder(path).embed(TEXTS), load_encoder(tmp_path / "copy").embed(TEXTS)
    assert np.array_equal(before.vectors_NC, after.vectors_NC)
    written = [file for file in (tmp_path / "copy").rglob("*") if file.is_file()]
    assert report["bytes"] == sum(file.stat().st_size for file in written)


def test_a_prompt_stands_before_every_text(folder):
    general = {"prompts": {"query": "the ", "passage": "a "}, "default_prompt_name": "query"}
    prompted = load_encoder(folder(ALL, general=general)).embed(["cat sat"]).vectors_NC
    plain = load_encoder(folder(), normalize=True)
    assert np.array_equal(prompted, plain.embed(["the cat sat"]).vectors_NC)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"modules": (*ALL, "Dense")}, "Transformer \\+ Pooling \\+ Normalize \\+ Dense"),
        ({"modules": ALL, "pooling": {"pooling_mode_max_tokens": True}}, "asks for max"),
        ({"modules": ALL, "pooling": {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}}, "cls \\+ mean"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused(folder, given, message):
    with pytest.raises(CheckpointError, match=message):
        load_encoder(folder(**given))


@pytest.mark.parametrize("damage", ["{", "[]", '[{"path": ""}]', "[1]"])
def test_damaged_modules_are_named(folder, damage):
    path = folder(ALL)
    (path / "modules.json").write_text(damage)
    with pytest.raises(CheckpointError, match=r"modules\.json"):
        load_encoder(path)


@pytest.mark.parametrize("most", [0, 2, 25])
def test_a_length_that_cannot_be_is_refused(folder, most):
    with pytest.raises(RequestError, match="Choose 3 to 24"):
        load_encoder(folder(), max_tokens=most)


def test_an_encoder_decoder_is_refused(folder):
    with pytest.raises(CheckpointError, match="encoder-decoder"):
        load_encoder(folder(style="transformer"))


# Masks.


def test_masks_are_filled_by_the_likeliest_tokens(folder):
    encoder = load_encoder(folder())
    first, second = encoder.fill("the [MASK] sat [MASK]", k=3)
    ids = [WORDS.index(word) for word in ["[CLS]", "the", "[MASK]", "sat", "[MASK]", "[SEP]"]]
    with torch.no_grad():
        expected_V = encoder.model(torch.tensor([ids]))[0, 2].softmax(-1)
    assert [guess.id for guess in first] == expected_V.argsort(descending=True)[:3].tolist()
    assert first[0].probability == pytest.approx(float(expected_V.max()))
    assert first[0].text.removeprefix("##") == WORDS[first[0].id].removeprefix("##")
    assert len(second) == 3
    assert sum(guess.probability for guess in encoder.fill("a [MASK]", k=99)[0]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("settings", "text", "message"),
    [({}, "the cat", "holds no \\[MASK\\]"), ({"head": "none"}, "the [MASK]", "not made to fill masks"),
     ({}, "the [MASK]" + " sat" * 24, "do not fit")],
)  # fmt: skip
def test_masks_that_cannot_be_filled(folder, settings, text, message):
    with pytest.raises(RequestError, match=message):
        load_encoder(folder(**settings)).fill(text)


# The command.


@pytest.fixture
def run(capsys):
    def run(*arguments):
        try:
            app(["embed", *map(str, arguments)])
        except HanlinError as error:
            sys.stderr.write(str(error))
        return capsys.readouterr()

    return run


@pytest.fixture
def lines(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("the cat sat\na dog\n翰林\n", "utf-8")
    return path


def test_vectors_are_written_and_printed_alike(folder, lines, run, tmp_path):
    path = folder(ALL)
    expected = load_encoder(path).embed(["the cat sat", "a dog", "翰林"]).vectors_NC
    said = run("--model", path, lines, "--output", tmp_path / "v.npy")
    assert said.out == ""
    assert "3 texts, 16 numbers each" in said.err
    assert "Pooling mean, length 1, at most 24 tokens (modules.json" in said.err
    assert np.array_equal(np.load(tmp_path / "v.npy"), expected)
    run("--model", path, lines, "--output", tmp_path / "v.jsonl")
    records = [json.loads(line) for line in (tmp_path / "v.jsonl").read_text("utf-8").splitlines()]
    assert [record["text"] for record in records] == ["the cat sat", "a dog", "翰林"]
    assert np.array_equal(np.array([record["embedding"] for record in records], np.float32), expected)
    printed = run("--model", path, lines).out.splitlines()
    assert np.array_equal(np.array([line.split() for line in printed]).astype(np.float32), expected)
    assert run("--model", path, lines, "--json").out == (tmp_path / "v.jsonl").read_text("utf-8")


def test_texts_come_from_options_fields_and_standard_input(folder, run, tmp_path, monkeypatch):
    path = folder()
    expected = run("--model", path, "--text", "a dog", "--text", "the cat").out
    assert len(expected.splitlines()) == 2
    (tmp_path / "r.jsonl").write_text('{"title": "the cat", "text": "x"}\n', "utf-8")
    assert run("--model", path, tmp_path / "r.jsonl", "--field", "title", "--text", "a dog").out == expected
    (tmp_path / "r.jsonl").write_text(
        '{"id": 1, "sentence": "a dog"}\n{"id": 2, "sentence": "the cat"}\n', "utf-8"
    )
    assert run("--model", path, tmp_path / "r.jsonl").out == expected
    (tmp_path / "g.txt").write_bytes("翰林院的学士们读史书，学而时习之，不亦说乎。\n".encode("gb18030"))
    assert "no modules.json: our custom" in run("--model", path, tmp_path / "g.txt").err
    monkeypatch.setattr(sys, "stdin", iter(["a dog\n", "the cat\n"]))
    assert run("--model", path).out == expected


def test_similarity_is_shown_as_a_table(folder, run):
    table = run(
        "--model", folder(), "--text", "the cat sat", "--text", "a dog", "--similarity"
    ).out.splitlines()
    assert table[0].startswith(" 1.000 ")
    assert table[1].endswith("1.000  a dog")


def test_similarity_is_given_to_programs_as_json(folder, run):
    printed = run("--model", folder(), "--text", "a dog", "--text", "翰林", "--similarity", "--json").out
    records = [json.loads(line) for line in printed.splitlines()]
    assert [record["text"] for record in records] == ["a dog", "翰林"]
    assert records[0]["similarity"][1] == records[1]["similarity"][0]


def test_vectors_that_do_not_fit_the_disk_leave_the_old_ones(tmp_path):
    path = tmp_path / "v.npy"
    path.write_bytes(b"old")
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(DiskError, match=r"v\.npy"):
            write_vectors(path, ["a"] * 64, np.ones((64, 64), np.float32))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == b"old"


def test_what_was_cut_is_said(folder, run):
    said = run("--model", folder(), "--text", "a", "--text", "the cat sat the cat sat", "--max-tokens", 5).err
    assert "1 were longer and cut: text 2." in said


def test_a_decoder_is_said_to_be_a_makeshift(folder, run):
    assert "made to continue text" in run("--model", folder(style="llama"), "--text", "a").err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"), (b"a dog\n\nthe cat\n", "t.jsonl:2:"), (b'{"text": "a"}\n{"text": 3}\n', "t.jsonl:2: no text in 'text' (there is: 3)"),
        (b'{"text": " "}\n', "t.jsonl:1: the text is empty"), (b'{"text"\n', "t.jsonl:1: not valid JSON"), (b"[1]\n", "t.jsonl:1: not a record"),
        (b"\x00\xff\xfe\x80" * 9, "not text in any known encoding"),
    ],
)  # fmt: skip
def test_files_that_cannot_be_read_are_named(folder, run, tmp_path, content, message):
    (tmp_path / "t.jsonl").write_bytes(content if content != b"a dog\n\nthe cat\n" else b'{"text": "a"}\n\n')
    said = run("--model", folder(), tmp_path / "t.jsonl")
    assert message in said.err.replace("\n", "")
    assert said.out == ""


def test_an_empty_line_is_named(folder, run, tmp_path):
    (tmp_path / "t.txt").write_text("a dog\n\nthe cat\n")
    assert "t.txt:2: the text is empty" in run("--model", folder(), tmp_path / "t.txt").err.replace("\n", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "absent", "--text", "a"], "There is no model absent"),
        (["--model", "{folder}", "absent.txt"], "Cannot read absent.txt"),
        (["--model", "{folder}", "--text", "a", "--output", "v.csv"], "v.csv: the ending does not say"),
    ],
)
def test_other_mistakes_are_named(folder, run, arguments, message):
    path = folder()
    assert message in run(*[argument.format(folder=path) for argument in arguments]).err


def test_nothing_on_standard_input_is_named(folder, run, monkeypatch):
    monkeypatch.setattr(sys, "stdin", iter([]))
    assert "There is no text" in run("--model", folder()).err


def test_mistakes_are_said_in_chinese_too(folder):
    with pytest.raises(HanlinError) as caught:
        load_encoder(folder()).embed([""])
    assert caught.value.problem.zh == "第 1 个文本是空的。"
