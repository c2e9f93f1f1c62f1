"""Tokenizers through GGUF: what llama.cpp keeps of them, and what it would get wrong."""

import json

import gguf
import pytest
import tokenizers
from tokenizers import models, pre_tokenizers

from gguf_files import TEXT, random_weights, save_pieces, save_tokenizer, small_config, write_small
from hanlin.base.errors import CheckpointError
from hanlin.checkpoint.defaults import GenerationDefaults
from hanlin.checkpoint.gguf.header import read_header
from hanlin.checkpoint.gguf.model import open_gguf, read_advice
from hanlin.checkpoint.gguf.splits import PROBES, SPLITS, Match, match_split
from hanlin.checkpoint.gguf.write import write_gguf
from hanlin.checkpoint.gguf.write_vocabulary import write_tokenizer
from hanlin.tokenizer.bpe import save_trained, train_bpe
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.folder import read_tokenizer_files
from hanlin.tokenizer.tokenizer import Tokenizer


def through_gguf(folder, tmp_path, **options):
    """The tokenizer in `folder`, written to a file and read back."""
    path, config = tmp_path / "through.gguf", small_config()
    write_gguf(path, config, random_weights(config), folder, **options)
    return Tokenizer(open_gguf(path).tokenizer)


def test_a_byte_level_tokenizer_comes_back_with_its_ids_template_and_special_tokens(tmp_path):
    folder = save_tokenizer(tmp_path / "own")
    own, back = Tokenizer.load(folder), through_gguf(folder, tmp_path)
    assert [back.encode(text) for text in (TEXT, *PROBES)] == [own.encode(text) for text in (TEXT, *PROBES)]
    assert [back.decode(back.encode(text)) for text in PROBES] == list(PROBES)
    for what in ("bos_id", "eos_id", "pad_id", "stop_ids", "special_ids", "chat_templates", "vocab_size",
                 "begins_with_bos", "is_byte_level"):  # fmt: skip
        assert getattr(back, what) == getattr(own, what), what
    assert own.begins_with_bos
    assert own.chat_templates


@pytest.mark.parametrize("name", SPLITS)
def test_every_scheme_finds_its_own_name(name):
    split = SPLITS[name]
    definition = {
        "pre_tokenizer": split.pre_tokenizer,
        "normalizer": split.normal_form and {"type": split.normal_form},
        "model": {"type": "BPE", "vocab": {}, "merges": [], "ignore_merges": split.ignore_merges},
    }
    assert match_split(definition) == Match(name, (), ())


def test_other_spellings_of_a_scheme_are_recognised():
    built = tokenizers.Tokenizer(models.BPE())
    built.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )  # as SmolLM's own tokenizer.json has it
    assert match_split(json.loads(built.to_str())) == Match("smollm", (), ())


def test_our_own_pattern_is_refused_by_default_and_said_aloud_otherwise(tmp_path, capsys):
    folder = save_tokenizer(tmp_path / "own", pattern="hanlin")
    with pytest.raises(CheckpointError, match=r"nearest scheme, llama-bpe, cuts 9 of 21") as caught:
        through_gguf(folder, tmp_path)
    assert "tokenizer.pattern=llama3" in caught.value.remedy.en
    through_gguf(folder, tmp_path, on_mismatch="warn")
    assert "llama-bpe" in capsys.readouterr().err


def test_the_nearest_scheme_is_the_one_that_changes_the_fewest_tokens(tmp_path):
    """A vocabulary trained within our borders has few tokens across them, so llama-bpe's wider pieces seldom
    matter; deepseek-v3 cuts fewer probes otherwise, but within words that are tokens."""
    folder = tmp_path / "own"
    folder.mkdir()
    save_trained(train_bpe(PROBES * 3, TokenizerConfig(vocab_size=700, pattern="hanlin")), folder)
    match = match_split(json.loads((folder / "tokenizer.json").read_text()))
    assert match.name == "llama-bpe"
    assert 0 < len(match.encoded) < len(match.cut)


def test_whole_pieces_that_merges_do_not_reach_are_noticed(tmp_path):
    folder = save_tokenizer(tmp_path / "own")
    definition = json.loads((folder / "tokenizer.json").read_text())
    merges = definition["model"]["merges"]
    definition["model"]["merges"] = merges[:-1]  # llama.cpp looks the last token up, we would never make it
    (folder / "tokenizer.json").write_text(json.dumps(definition))
    with pytest.raises(CheckpointError, match="llama-bpe"):
        through_gguf(folder, tmp_path)


def test_kinds_of_tokens_are_told_apart(tmp_path):
    folder = save_tokenizer(tmp_path / "own")
    built = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    built.add_tokens([tokenizers.AddedToken("<think>", special=False, normalized=False)])
    built.save(str(folder / "tokenizer.json"))
    values = write_tokenizer(read_tokenizer_files(folder), 300, "refuse")
    tokens, kinds = values["tokenizer.ggml.tokens"], values["tokenizer.ggml.token_type"]
    assert kinds[tokens.index("<|im_end|>")] == gguf.TokenType.CONTROL
    assert kinds[tokens.index("<think>")] == gguf.TokenType.USER_DEFINED
    assert kinds[tokens.index("a")] == gguf.TokenType.NORMAL
    assert (tokens[299], kinds[299]) == ("[PAD299]", gguf.TokenType.UNUSED)
    back = through_gguf(folder, tmp_path)
    assert back.token_id("<think>") in back.encode("a<think>b")
    assert back.token_id("<|im_end|>") not in back.encode("a<|im_end|>b")
    assert back.token_id("[PAD299]") is None


@pytest.mark.parametrize("prefix", [True, False])
def test_a_sentence_piece_tokenizer_comes_back_with_its_ids(prefix, tmp_path):
    folder = save_pieces(tmp_path / "own", prefix)
    own, back = Tokenizer.load(folder), through_gguf(folder, tmp_path)
    texts = [TEXT.replace("<|endoftext|>", ""), "a  b", "unseen Ω字", *PROBES]
    assert [back.encode(text) for text in texts] == [own.encode(text) for text in texts]
    assert [back.decode(back.encode(text)) for text in texts] == [
        own.decode(own.encode(text)) for text in texts
    ]
    assert max(len(back.encode(word)) for word in ("scholars", "histories")) < 9  # pieces, not bytes
    assert (back.bos_id, back.eos_id) == (1, 2)


def test_a_begin_token_is_kept_as_it_was(tmp_path):
    folder = save_tokenizer(tmp_path / "own")
    definition = json.loads((folder / "tokenizer.json").read_text())
    definition["post_processor"] = None
    (folder / "tokenizer.json").write_text(json.dumps(definition))
    assert not through_gguf(folder, tmp_path).begins_with_bos


def test_a_tokenizer_of_another_kind_or_of_another_model_is_refused(tmp_path):
    folder = save_tokenizer(tmp_path / "own")
    with pytest.raises(CheckpointError, match="has 290 tokens, the model only 289"):
        write_tokenizer(read_tokenizer_files(folder), 289, "refuse")
    built = tokenizers.Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    built.save(str(folder / "tokenizer.json"))
    with pytest.raises(CheckpointError, match="neither byte-level BPE nor SentencePiece BPE"):
        write_tokenizer(read_tokenizer_files(folder), 300, "refuse")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"llama-bpe", b"llama-xyz", r"tokenizer\.ggml\.pre is 'llama-xyz', and only llama-bpe, qwen2"),
        (b"\4\0\0\0\0\0\0\0gpt2", b"\4\0\0\0\0\0\0\0bert", r"tokenizer\.ggml\.model is 'bert'"),
        (b"tokenizer.ggml.merges", b"tokenizer.ggml.mergez", r"tokenizer\.ggml\.merges is missing"),
    ],
)
def test_a_file_whose_text_cannot_be_cut_alike_is_refused(old, new, words, tmp_path):
    path = tmp_path / "a.gguf"
    write_small(path)
    data = path.read_bytes()
    assert data.count(old) == 1
    path.write_bytes(data.replace(old, new))
    with pytest.raises(CheckpointError, match=words):
        open_gguf(path)


def test_advice_travels_with_the_file(tmp_path):
    advice = GenerationDefaults(temperature=0.5, top_k=40, repetition_penalty=1.5)
    write_small(tmp_path / "a.gguf", defaults=advice)
    assert open_gguf(tmp_path / "a.gguf").defaults == advice


def test_templates_with_names_travel_too(tmp_path):
    folder = save_tokenizer(tmp_path / "own")
    (folder / "chat_template.jinja").unlink()
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    sources = {"default": "{{ messages[0].content }}", "tool_use": "{{ tools }}"}
    settings["chat_template"] = [{"name": name, "template": text} for name, text in sources.items()]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    config = small_config()
    write_gguf(tmp_path / "a.gguf", config, random_weights(config), folder)
    assert open_gguf(tmp_path / "a.gguf").tokenizer.chat_templates == sources


def test_a_list_of_the_wrong_type_is_refused_by_name(tmp_path):
    path = tmp_path / "a.gguf"
    write_small(path)
    data = path.read_bytes()
    place = data.index(b"tokenizer.ggml.token_type") + len("tokenizer.ggml.token_type") + 4
    assert data[place] == 5  # int32; as 6 the same bytes are float32
    path.write_bytes(data[:place] + b"\6" + data[place + 1 :])
    with pytest.raises(CheckpointError, match=r"tokenizer\.ggml\.token_type is not of the type int"):
        open_gguf(path)


def test_advice_that_is_no_number_is_refused_by_name(tmp_path):
    path = tmp_path / "a.gguf"
    write_small(path)
    header = read_header(path)
    header.metadata["general.sampling.temp"] = "warm"
    with pytest.raises(CheckpointError, match=r"general\.sampling\.temp is no number"):
        read_advice(header)
