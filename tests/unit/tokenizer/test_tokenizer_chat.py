"""Conversations to ids: equal to transformers, exact loss mask, no special token from users, sandboxed
templates."""

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanlin.base.errors import CheckpointError, RequestError
from hanlin.base.records import Message
from hanlin.tokenizer.chat import ChatTemplate
from hanlin.tokenizer.special import SPECIAL_TOKENS
from hanlin.tokenizer.tokenizer import Tokenizer

CONVERSATION = [
    Message(role="system", content="You are a scholar."),
    Message(role="user", content="学而时习之？"),
    Message(role="assistant", content="不亦说乎！"),
    Message(role="user", content="What is 1,024 + 1?\n"),
    Message(role="assistant", content="It's 1025.\n\nIsn't it?"),
]
contents = st.text(max_size=30) | st.lists(
    st.sampled_from([*SPECIAL_TOKENS["bpe"].ordered, "<|im_", "end|>", "user", "\n", "学", "\U000f0000"]),
    max_size=6,
).map("".join)


def rendered_text(tokenizer: Tokenizer, messages: list[Message], prompt: bool = False) -> str:
    return tokenizer.decode(ChatTemplate(tokenizer).render(messages, prompt).ids, skip_special=False)


@pytest.mark.parametrize("prompt", [False, True])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_ids_equal_those_of_transformers(
    folder: Path, tokenizer: Tokenizer, count: int, prompt: bool
) -> None:
    from transformers import AutoTokenizer

    peer = AutoTokenizer.from_pretrained(folder)
    messages = CONVERSATION[:count]
    theirs = peer.apply_chat_template(
        [message.model_dump() for message in messages], add_generation_prompt=prompt, return_dict=False
    )
    assert ChatTemplate(tokenizer).render(messages, prompt).ids == theirs
    assert (peer.eos_token_id, peer.pad_token_id) == (tokenizer.eos_id, tokenizer.pad_id)


@given(texts=st.lists(contents, min_size=1, max_size=5))
@settings(max_examples=150, deadline=None)
def test_users_cannot_write_special_tokens(tokenizer: Tokenizer, texts: list[str]) -> None:
    roles = ["user", "assistant"]
    messages = [Message(role=roles[n % 2], content=text) for n, text in enumerate(texts)]  # type: ignore[arg-type]
    ids = ChatTemplate(tokenizer).render(messages).ids
    start, end = tokenizer.token_id("<|im_start|>"), tokenizer.token_id("<|im_end|>")
    special = [id for id in ids if id in tokenizer.special_ids]
    assert special == [tokenizer.bos_id, *([start, end] * len(messages))]
    expected = "".join(f"<|im_start|>{m.role}\n{m.content}<|im_end|>\n" for m in messages)
    assert tokenizer.decode(ids[1:], skip_special=False) == expected


@given(texts=st.lists(contents, min_size=2, max_size=5))
@settings(max_examples=150, deadline=None)
def test_the_mask_is_the_answers_and_their_end_tokens(tokenizer: Tokenizer, texts: list[str]) -> None:
    roles = ["user", "assistant"]
    messages = [Message(role=roles[n % 2], content=text) for n, text in enumerate(texts)]  # type: ignore[arg-type]
    rendered = ChatTemplate(tokenizer).render(messages)
    learned = [id for id, bit in zip(rendered.ids, rendered.loss_mask, strict=True) if bit]
    expected = "".join(message.content + "<|im_end|>" for message in messages if message.role == "assistant")
    assert tokenizer.decode(learned, skip_special=False) == expected


@given(answer=contents)
@settings(max_examples=150, deadline=None)
def test_what_is_learned_follows_exactly_what_is_served(tokenizer: Tokenizer, answer: str) -> None:
    template = ChatTemplate(tokenizer)
    prompt = template.render(CONVERSATION[:2], add_generation_prompt=True).ids
    whole = template.render([*CONVERSATION[:2], Message(role="assistant", content=answer)])
    assert whole.ids[: len(prompt)] == prompt
    assert whole.ids[len(prompt) :] == [*tokenizer.encode(answer), 3, *tokenizer.encode("\n")]
    assert sum(whole.loss_mask) == len(tokenizer.encode(answer)) + 1


def test_a_template_that_changes_earlier_turns_cannot_give_a_mask(tokenizer: Tokenizer) -> None:
    source = (
        "{% for m in messages %}{{ m.role + ': ' }}"
        "{% if loop.last %}{{ '<|im_start|>' }}{% endif %}{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )
    template = ChatTemplate(tokenizer, source)
    with pytest.raises(CheckpointError, match="message 3"):
        template.render(CONVERSATION)
    rendered = template.render(CONVERSATION, add_generation_prompt=True)
    assert len(rendered.ids) == len(rendered.loss_mask)
    assert sum(rendered.loss_mask) == 0


def test_a_template_without_end_token_still_masks_the_answer(tokenizer: Tokenizer) -> None:
    source = (
        "{% for m in messages %}{{ '### ' + m.role + '\n' + m.content + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '### assistant\n' }}{% endif %}"
    )
    rendered = ChatTemplate(tokenizer, source).render(CONVERSATION[:3])
    learned = [id for id, bit in zip(rendered.ids, rendered.loss_mask, strict=True) if bit]
    assert tokenizer.decode(learned) == "不亦说乎！\n"


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update({'content': 'x'}) }}",
        "{{ messages.__init__.__globals__ }}",
        "{{ undefined_name.attribute }}",
        "{{ 1 / 0 }}",
        "{% for i in range(10000000) %}x{% endfor %}",
        "{% import 'os' as os %}",
        "{% if %}",
        "{{ messages[99]['content'] }}",
        "{% for a in range(9999) %}{% for b in range(9999) %}{% set c = 1 %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(64) }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ 'a' * 10 ** 9 }}",
        "{{ 10 ** (10 ** 10) }}",
        "{{ '%999999999d' % 1 }}",
        "{{ namespace(__class__=1) }}",
        "{% set ns = namespace(a=1) %}{% set ns._b = 1 %}",
        "{% include 'other.jinja' %}",
        "{{ self.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.system('true') }}",
        "{{ strftime_now.__self__ }}",
        "{{ ''.__class__ }}",
    ],
)
def test_forbidden_or_faulty_jinja_is_refused(tokenizer: Tokenizer, source: str) -> None:
    with pytest.raises(CheckpointError):
        ChatTemplate(tokenizer, source).render(CONVERSATION[:2], add_generation_prompt=True)


def test_a_template_may_refuse_a_conversation(tokenizer: Tokenizer) -> None:
    source = "{% if messages[0].role != 'user' %}{{ raise_exception('must begin with the user') }}{% endif %}"
    with pytest.raises(RequestError, match="must begin with the user"):
        ChatTemplate(tokenizer, source).render(CONVERSATION)


def test_conventions_of_the_ecosystem(tokenizer: Tokenizer) -> None:
    source = (
        "{%- if tools is not none or strftime_now('%Y')|int < 2025 %}wrong{% endif %}\n"
        "    {%- for m in messages %}\n"
        "    {%- if m.role == 'system' %}{% continue %}{% endif %}\n"
        "{% generation %}{{ m.content | tojson }}{% endgeneration %}{{ eos_token }}\n"
        "    {%- endfor %}\n"
    )
    ids = ChatTemplate(tokenizer, source).render(CONVERSATION[:2], add_generation_prompt=True).ids
    assert tokenizer.decode(ids, skip_special=False) == '"学而时习之？"<|endoftext|>'


def test_exactly_one_begin_token(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    settings_file = tmp_path / "tokenizer_config.json"
    settings_file.write_text('{"eos_token": "<|im_end|>", "bos_token": "<|endoftext|>"}')
    tokenizer = Tokenizer.load(tmp_path)
    once = ChatTemplate(tokenizer, "{{ bos_token }}{{ messages[0].content }}")
    assert once.render(CONVERSATION[:1]).ids == [0, *tokenizer.encode(CONVERSATION[0].content)]
    with pytest.raises(CheckpointError, match="twice"):
        ChatTemplate(tokenizer, "{{ bos_token }}{{ bos_token }}").render(CONVERSATION[:1])


def test_a_model_without_template_says_so(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "chat_template.jinja").unlink()
    with pytest.raises(CheckpointError) as caught:
        ChatTemplate(Tokenizer.load(tmp_path))
    assert "no chat template" in caught.value.problem.en


def test_named_templates_of_a_configuration(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "chat_template.jinja").unlink()
    settings_file = tmp_path / "tokenizer_config.json"
    named = [{"name": "tool_use", "template": "{{ tools | tojson }}"}]
    values = json.loads(settings_file.read_text("utf-8"))
    settings_file.write_text(json.dumps({**values, "chat_template": named}), "utf-8")
    with pytest.raises(CheckpointError, match="tool_use"):
        ChatTemplate(Tokenizer.load(tmp_path))
    named.append({"name": "default", "template": "plain"})
    settings_file.write_text(json.dumps({**values, "chat_template": named}), "utf-8")
    tokenizer = Tokenizer.load(tmp_path)
    assert ChatTemplate(tokenizer).render(CONVERSATION).ids == tokenizer.encode("plain")
    with_tools = ChatTemplate(tokenizer, tokenizer.chat_templates["tool_use"])
    ids = with_tools.render(CONVERSATION[:2], tools=[{"name": "<|im_end|>"}]).ids
    assert tokenizer.decode(ids) == '[{"name": "<|im_end|>"}]'


@given(texts=st.lists(contents, min_size=2, max_size=4))
@settings(max_examples=100, deadline=None)
def test_marked_answers_are_learned_whatever_users_write(tokenizer: Tokenizer, texts: list[str]) -> None:
    source = (
        "{%- for m in messages %}{%- if m.role == 'assistant' %}"
        "{% generation %}{{ m.content + eos_token }}{% endgeneration %}"
        "{%- else %}{{- m.content + '<|im_end|>' }}{%- endif %}{%- endfor %}"
    )
    roles = ["user", "assistant"]
    messages = [Message(role=roles[n % 2], content=text) for n, text in enumerate(texts)]  # type: ignore[arg-type]
    rendered = ChatTemplate(tokenizer, source).render(messages)
    learned = [id for id, bit in zip(rendered.ids, rendered.loss_mask, strict=True) if bit]
    assert tokenizer.decode(learned, skip_special=False) == "".join(t + "<|endoftext|>" for t in texts[1::2])
    whole = "".join(t + ("<|endoftext|>" if n % 2 else "<|im_end|>") for n, t in enumerate(texts))
    assert tokenizer.decode(rendered.ids, skip_special=False) == whole
