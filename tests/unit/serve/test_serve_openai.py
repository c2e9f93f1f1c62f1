"""The official client against both endpoints."""

import threading

import openai
import pytest

from hanlin.generate.language_model import LanguageModel
from serving import GREETING, POEM, SONG, Running, running

CHINESE = [{"role": "user", "content": "你好"}]


def text_of(stream) -> str:
    return "".join(chunk.choices[0].text for chunk in stream if chunk.choices)


def test_models(client: openai.OpenAI):
    (card,) = client.models.list().data
    assert card.id == "little"
    assert client.models.retrieve("little").id == "little"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("big/other")
    assert caught.value.code == "model_not_found"


def test_completion_is_what_the_model_generates(client: openai.OpenAI, model: LanguageModel):
    answer = client.completions.create(model="little", prompt=POEM[:6], max_tokens=30, temperature=0)
    own = model.generate(POEM[:6], max_new_tokens=30, temperature=0)
    assert answer.choices[0].text == own.text
    assert POEM[6:].startswith(answer.choices[0].text.rstrip("\ufffd"))
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 30
    assert answer.usage.prompt_tokens == len(model.tokenizer.encode_prompt(POEM[:6]))
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 30


def test_completions_take_sixteen_tokens_unless_told(client: openai.OpenAI):
    answer = client.completions.create(model="little", prompt=SONG, temperature=0)
    assert answer.usage.completion_tokens == 16


def test_stream_gives_the_same_text(client: openai.OpenAI):
    wanted = {"model": "little", "prompt": SONG[:10], "max_tokens": 40, "temperature": 0}
    whole = client.completions.create(**wanted)
    stream = list(client.completions.create(**wanted, stream=True))
    assert text_of(stream) == whole.choices[0].text
    assert len(stream) > 5
    assert [chunk.choices[0].finish_reason for chunk in stream][-2:] == [None, "length"]
    assert len({chunk.id for chunk in stream}) == 1


@pytest.mark.parametrize(("question", "reply"), GREETING)
def test_chat_answers_and_ends_its_turn(client: openai.OpenAI, question: str, reply: str):
    asked = [{"role": "user", "content": question}]
    answer = client.chat.completions.create(model="little", messages=asked, temperature=0)
    assert answer.choices[0].message.content == reply
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == "stop"


def test_chat_stream_with_usage(client: openai.OpenAI):
    chunks = list(
        client.chat.completions.create(
            model="little",
            messages=CHINESE,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks[:-1]]
    assert "".join(pieces) == "你好！我是翰林。"
    assert all("\ufffd" not in piece for piece in pieces)
    assert chunks[-1].choices == []
    whole = client.chat.completions.create(model="little", messages=CHINESE, temperature=0)
    assert chunks[-1].usage == whole.usage


def test_usage_as_it_goes(client: openai.OpenAI):
    chunks = client.completions.create(
        model="little",
        prompt=SONG,
        max_tokens=12,
        temperature=0,
        stream=True,
        stream_options={"continuous_usage_stats": True},
    )
    counts = [chunk.usage.completion_tokens for chunk in chunks]
    assert counts == sorted(counts)
    assert counts[-1] == 12


def test_characters_stay_whole_in_a_stream(client: openai.OpenAI):
    stream = client.completions.create(
        model="little", prompt=POEM[:3], max_tokens=200, temperature=0, stream=True
    )
    pieces = [chunk.choices[0].text for chunk in stream]
    text = "".join(pieces).rstrip("\ufffd")  # the limit may cut the last character
    assert "\ufffd" not in text
    assert (POEM * 9)[3:].startswith(text)
    assert "😀" in pieces


def test_stop_strings_are_not_part_of_the_text(client: openai.OpenAI):
    answer = client.completions.create(
        model="little", prompt=POEM[:6], max_tokens=100, temperature=0, stop=["鸟", "never"]
    )
    assert answer.choices[0].text == "处处闻啼"
    assert answer.choices[0].finish_reason == "stop"
    stream = client.completions.create(
        model="little", prompt=POEM[:6], max_tokens=100, temperature=0, stop="啼鸟", stream=True
    )
    assert text_of(stream) == "处处闻"


def test_seed_repeats_and_choices_differ(client: openai.OpenAI):
    wanted = {"model": "little", "prompt": "Once", "max_tokens": 24, "temperature": 2, "seed": -5, "n": 3}
    first = [choice.text for choice in client.completions.create(**wanted).choices]
    second = [choice.text for choice in client.completions.create(**wanted).choices]
    assert first == second
    assert len(set(first)) == 3
    other = [choice.text for choice in client.completions.create(**{**wanted, "seed": 6}).choices]
    assert other != first


def test_several_prompts_and_token_ids(client: openai.OpenAI, model: LanguageModel):
    common = {"model": "little", "max_tokens": 10, "temperature": 0}
    texts = [
        choice.text for choice in client.completions.create(prompt=[SONG[:8], "Row, row"], **common).choices
    ]
    ids = [model.tokenizer.encode_prompt(SONG[:8]), model.tokenizer.encode_prompt("Row, row")]
    assert [choice.text for choice in client.completions.create(prompt=ids, **common).choices] == texts
    assert client.completions.create(prompt=ids[0], **common).choices[0].text == texts[0]


def test_choices_of_a_stream_carry_their_index(client: openai.OpenAI):
    wanted = {"model": "little", "messages": CHINESE, "max_tokens": 20, "temperature": 1.5, "seed": 3, "n": 2}
    whole = [choice.message.content for choice in client.chat.completions.create(**wanted).choices]
    texts = ["", ""]
    for chunk in client.chat.completions.create(**wanted, stream=True):
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert texts == whole


def test_content_parts_and_own_answers_can_be_sent_back(client: openai.OpenAI, model: LanguageModel):
    parts = [{"type": "text", "text": "你"}, {"type": "text", "text": "好"}]
    asked = [{"role": "user", "content": parts}]
    answer = client.chat.completions.create(model="little", messages=asked, temperature=0)
    plain = client.chat.completions.create(model="little", messages=CHINESE, temperature=0)
    assert answer.choices[0].message.content == plain.choices[0].message.content
    history = [*CHINESE, answer.choices[0].message, {"role": "user", "content": "Who are you?"}]
    again = client.chat.completions.create(model="little", messages=history, temperature=0, max_tokens=5)
    assert again.usage.prompt_tokens > 2 * answer.usage.prompt_tokens


def test_history_reaches_the_model(client: openai.OpenAI, model: LanguageModel):
    history = [*CHINESE, {"role": "assistant", "content": "好"}, {"role": "user", "content": "Who are you?"}]
    answer = client.chat.completions.create(model="little", messages=history, max_tokens=8, temperature=0)
    own = model.chat(history, max_new_tokens=8, temperature=0)
    assert answer.choices[0].message.content == own.text
    assert answer.usage.prompt_tokens == own.prompt_tokens


def test_eight_streams_at_once_each_get_their_own_text(server: Running, client: openai.OpenAI):
    prompts = [SONG[:n] for n in (4, 9, 15, 20)] + [POEM[:n] for n in (1, 4, 7, 12)]
    common = {"model": "little", "max_tokens": 60, "temperature": 0}
    alone = [client.completions.create(prompt=prompt, **common).choices[0].text for prompt in prompts]
    together = [""] * len(prompts)

    def read(index: int) -> None:
        own = openai.OpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0)
        together[index] = text_of(own.completions.create(prompt=prompts[index], stream=True, **common))

    threads = [threading.Thread(target=read, args=(index,)) for index in range(len(prompts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone


def test_error_classes(client: openai.OpenAI):
    with pytest.raises(openai.BadRequestError) as bad:
        client.completions.create(model="little", prompt="x", temperature=-1)
    assert bad.value.param == "temperature"
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="gpt-5", messages=CHINESE)
    assert missing.value.code == "model_not_found"
    assert missing.value.request_id.startswith("req_")


def test_api_key(model: LanguageModel):
    with running(model, api_key="sesame") as server:
        keyed = openai.OpenAI(base_url=f"{server.url}/v1", api_key="sesame", max_retries=0)
        assert keyed.models.list().data[0].id == "little"
        for key in ("sesam", "sesame2", "other"):
            wrong = openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0)
            with pytest.raises(openai.AuthenticationError) as caught:
                wrong.completions.create(model="little", prompt="x")
            assert caught.value.code == "invalid_api_key"
