"""GGUF files that we write, opened by `transformers`, against the same weights opened by us."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from gguf_files import TEXT, small_config, write_small
from hanlin.checkpoint.gguf.model import open_gguf

IDS_BT = torch.randint(300, (2, 24), generator=torch.Generator().manual_seed(1))
CONFIGS = {
    "llama": small_config(),
    "llama, tied": small_config(tie_word_embeddings=True),
    "qwen2": small_config("qwen2"),
    "qwen3": small_config("qwen3", head_dim=128),  # the only length that transformers takes from a file
}


@pytest.mark.parametrize("name", CONFIGS)
def test_transformers_reads_the_same_model_from_the_file(name, tmp_path):
    write_small(tmp_path / "a.gguf", CONFIGS[name])
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="a.gguf", dtype=torch.float32).eval()
    opened = open_gguf(tmp_path / "a.gguf")
    config = AutoConfig.for_model(**opened.config)
    ours = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    loaded = ours.load_state_dict({key: opened.tensors.load(key) for key in opened.tensors}, strict=False)
    assert not loaded.unexpected_keys
    assert set(loaded.missing_keys) <= {"lm_head.weight"}
    ours.tie_weights()
    with torch.no_grad():
        assert (ours(IDS_BT).logits - theirs(IDS_BT).logits).abs().max() < 1e-5


def test_transformers_reads_the_same_tokenizer_from_the_file_and_from_its_parts(tmp_path):
    write_small(tmp_path / "a.gguf")
    opened = open_gguf(tmp_path / "a.gguf")
    parts = tmp_path / "parts"
    parts.mkdir()
    for name, text in opened.tokenizer.texts.items():
        (parts / name).write_text(text)
    from_file = AutoTokenizer.from_pretrained(tmp_path, gguf_file="a.gguf")
    from_parts = AutoTokenizer.from_pretrained(parts)
    own = AutoTokenizer.from_pretrained(tmp_path / "tokenizer")
    for text in (TEXT, "it's  42\n\n学而时习之，不亦说乎？ 😀"):
        assert from_parts(text).input_ids == own(text).input_ids
        assert (
            from_file(text, add_special_tokens=False).input_ids
            == own(text, add_special_tokens=False).input_ids
        )
    messages = [{"role": "user", "content": "你好 hi"}]
    assert (
        from_parts.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
        == own.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
    )
