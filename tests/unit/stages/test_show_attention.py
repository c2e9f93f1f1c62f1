"""`hanlin show attention`: the model reads what it is used to reading, and the page shows all of it."""

import json

import pytest
import tokenizers
import torch
from tokenizers import models, pre_tokenizers, processors

from hanlin.base.errors import RequestError
from hanlin.checkpoint.defaults import GenerationDefaults
from hanlin.checkpoint.folder import save_model
from hanlin.model.assemble import build_model
from hanlin.model.config import CoreConfig
from hanlin.stages.show_attention import attention_of, print_attention
from hanlin.tokenizer.tokenizer import Tokenizer

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[/x]", "the", "cat"]


@pytest.fixture(params=["bert", "llama"])
def folder(request, tmp_path):
    rust = tokenizers.Tokenizer(models.WordPiece({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    rust.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    rust.add_special_tokens(WORDS[:5])
    (tmp_path / "words").mkdir()
    rust.save(str(tmp_path / "words" / "tokenizer.json"))
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    (tmp_path / "words" / "tokenizer_config.json").write_text(json.dumps(names))
    torch.manual_seed(0)
    shape = {
        "style": request.param,
        "vocab_size": len(WORDS),
        "width": 8,
        "layers": 1,
        "heads": 2,
        "window": 80,
    }
    model = build_model(CoreConfig.model_validate(shape)).eval()
    save_model(tmp_path / "model", model, Tokenizer.load(tmp_path / "words"), GenerationDefaults(), {}, {})
    return tmp_path / "model"


def test_an_encoder_reads_its_special_tokens_too(folder):
    tokens = attention_of(folder, "the cat", 0, 1).tokens
    around = tokens if len(tokens) == 2 else tokens[1:-1]
    assert [token.strip() for token in around] == ["the", "cat"]
    assert (len(tokens) == 4) == ("bert" in (folder / "config.json").read_text())


def test_a_page_is_whole_on_a_narrow_terminal_whatever_its_tokens_are_called(folder, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    shown = attention_of(folder, "the [/x] cat " * 10, 0, 0)
    shown.tokens[0] = "[/x]"  # to rich, the end of a style that never began
    print_attention(shown)
    lines = capsys.readouterr().out.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("3."))
    last = lines[start + 1 + len(shown.tokens)].split()
    assert last[-len(shown.tokens) :] == [f"{weight:.2f}" for weight in shown.trace.weights_TT[-1].tolist()]
    assert "[/x]" in lines[start + 2]


def test_an_empty_text_is_refused(folder):
    if "bert" not in (folder / "config.json").read_text():
        with pytest.raises(RequestError, match="empty"):
            attention_of(folder, "", 0, 0)
