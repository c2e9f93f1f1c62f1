"""/v1/responses through the official client: whole and streamed answers, conversations, and what is refused."""

import httpx2
import openai
import pytest

from serving import GREETING


def test_a_question_is_answered(client):
    answer = client.responses.create(
        model="little", input=GREETING[0][0], temperature=0, max_output_tokens=64
    )
    assert answer.output_text == GREETING[0][1]
    assert (answer.status, answer.error, answer.incomplete_details) == ("completed", None, None)
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens
    assert answer.metadata == {}


def test_a_stream_says_what_the_whole_answer_says(client):
    with client.responses.stream(model="little", input=GREETING[0][0], temperature=0) as stream:
        events = list(stream)
        whole = stream.get_final_response()
    assert whole.output_text == GREETING[0][1]
    assert (
        "".join(event.delta for event in events if event.type == "response.output_text.delta")
        == GREETING[0][1]
    )
    assert [event.sequence_number for event in events] == list(range(len(events)))
    kinds = [event.type for event in events if event.type != "response.output_text.delta"]
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]


def test_an_answers_items_can_be_sent_back(client):
    first = client.responses.create(model="little", input="你好", temperature=0)
    turns = [{"role": "user", "content": "你好"}, *(item.model_dump() for item in first.output)]
    parts = [{"type": "input_text", "text": "Who are you?"}]
    second = client.responses.create(
        model="little",
        input=[*turns, {"role": "user", "content": parts}],
        temperature=0,
        max_output_tokens=32,
    )
    assert second.usage.input_tokens > first.usage.input_tokens


def test_an_answer_that_is_cut_says_so(client):
    answer = client.responses.create(model="little", input="你好", temperature=0, max_output_tokens=2)
    assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert answer.usage.output_tokens == 2


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"input": []}, "input"),
        ({"input": 5}, "input"),
        ({"input": "x", "previous_response_id": "resp_1"}, "previous_response_id"),
        ({"input": "x", "temperature": "0"}, "temperature"),
        ({"input": "x", "max_output_tokens": 0}, "max_output_tokens"),
        ({"input": "x", "tools": [{"type": "web_search"}]}, "tools"),
        ({"input": "x", "text": {"format": {"type": "jpeg"}}}, "text.format"),
        ({"input": "x", "surprise": 1}, "surprise"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}, "input"),
    ],
)
def test_what_is_wrong_is_named(server, given, param):
    answer = httpx2.post(f"{server.url}/v1/responses", json={"model": "little", **given})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"].startswith(param)


def test_an_unknown_model_is_not_found(client):
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model="big", input="x")
