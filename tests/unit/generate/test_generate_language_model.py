"""What `hanlin.load` returns: completions, streams, conversations, log-probabilities, and clear refusals."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from hanlin.base.errors import CheckpointError, RequestError
from hanlin.base.records import Message
from hanlin.generate.generation import Piece
from hanlin.generate.language_model import LanguageModel, load
from hanlin.generate.scoring import token_log_probabilities

PROMPT = "翰林院的学士们"


def turns(*contents: str, system: str | None = None) -> list[Message]:
    roles = ("user", "assistant")
    first = [Message(role="system", content=system)] if system else []
    return first + [Message(role=roles[n % 2], content=text) for n, text in enumerate(contents)]  # type: ignore[arg-type]


def test_a_folder_opens_with_its_defaults(folder: Path) -> None:
    opened = load(folder, device="cpu")
    assert (opened.name, opened.window) == ("tiny", 64)
    assert (opened.defaults.temperature, opened.defaults.top_k) == (0.5, 7)
    assert opened.generate(PROMPT, seed=1) == opened.generate(PROMPT, seed=1)


def test_a_completion_never_contains_the_prompt(language_model: LanguageModel) -> None:
    completion = language_model.generate(PROMPT, temperature=0)
    tokenizer, engine = language_model.tokenizer, language_model.engine
    generation = engine.submit(
        tokenizer.encode_prompt(PROMPT), language_model.defaults.changed({"temperature": 0})
    )
    while engine.busy:
        engine.step()
    assert completion.text == tokenizer.decode(generation.token_ids)
    assert completion.prompt_tokens == 1 + len(tokenizer.encode(PROMPT))
    assert (completion.new_tokens, completion.finish_reason, completion.dropped_turns) == (16, "length", 0)


def test_streams_give_the_same_text_and_may_run_side_by_side(language_model: LanguageModel) -> None:
    whole = [language_model.generate(PROMPT, seed=seed).text for seed in (1, 2)]
    first, second = (language_model.stream(PROMPT, seed=seed) for seed in (1, 2))
    texts = ["", ""]
    for one, two in zip(first, second, strict=True):
        texts[0] += one.text
        texts[1] += two.text
    assert texts == whole


def test_an_abandoned_stream_is_cancelled(language_model: LanguageModel) -> None:
    stream = language_model.stream(PROMPT)
    generation = next(iter(stream)).generation
    stream.close()  # type: ignore[attr-defined]
    language_model.engine.step()
    assert generation.finish_reason == "cancelled"
    assert not language_model.engine.busy
    language_model.stream(PROMPT)  # never begun: nothing waits
    assert not language_model.engine.busy


def test_wrong_requests(language_model: LanguageModel) -> None:
    with pytest.raises(RequestError, match="64"):
        language_model.generate("学" * 200)
    with pytest.raises(RequestError, match="temperature"):
        language_model.stream(PROMPT, temperature=-1)
    with pytest.raises(RequestError, match="nonsense"):
        language_model.chat(turns("学"), nonsense=1)
    for messages in ([], turns("学", "习"), [Message(role="system", content="学")]):
        with pytest.raises(RequestError, match="user"):
            language_model.chat(messages)
    with pytest.raises(RequestError, match="Message 2: role"):
        language_model.chat([{"role": "user", "content": "学"}, {"role": "tool", "content": "习"}])
    with pytest.raises(RequestError, match="Message 1: content"):
        language_model.chat([{"role": "user", "content": 1}])


def test_an_empty_prompt_is_the_beginning_of_a_document(language_model: LanguageModel) -> None:
    completion = language_model.generate("", temperature=0)
    assert (completion.prompt_tokens, completion.new_tokens) == (1, 16)


def test_chat_continues_the_rendered_conversation(language_model: LanguageModel) -> None:
    messages = turns("a", "学", "b")
    prompt = language_model.chat_prompt(messages, 8)
    assert prompt.ids == language_model.chat_template.render(messages, add_generation_prompt=True).ids
    assert prompt.dropped_turns == 0
    answer = language_model.chat([m.model_dump() for m in messages], max_new_tokens=8, seed=5)
    assert answer.prompt_tokens == len(prompt.ids)
    streamed = "".join(piece.text for piece in language_model.stream_chat(messages, max_new_tokens=8, seed=5))
    assert streamed == answer.text


def test_oldest_exchanges_go_first_and_whole(language_model: LanguageModel) -> None:
    template = language_model.chat_template
    messages = turns("a", "b", "c", "d", "e", "f", "g", system="s")
    whole = len(template.render(messages, add_generation_prompt=True).ids)
    for room in range(64):
        prompt = language_model.chat_prompt(messages, 64 - room)
        kept = [messages[0], *messages[1 + prompt.dropped_turns :]]
        assert prompt.dropped_turns % 2 == 0
        assert kept[1].role == "user"
        assert kept[-1] == messages[-1]
        assert prompt.ids == template.render(kept, add_generation_prompt=True).ids
        if prompt.dropped_turns < 6:
            assert len(prompt.ids) <= room
        if prompt.dropped_turns > 0:
            more = [messages[0], *messages[prompt.dropped_turns - 1 :]]
            assert len(template.render(more, add_generation_prompt=True).ids) > room
    assert whole > 30
    with pytest.raises(RequestError) as caught:
        language_model.chat(turns("学" * 200, system="s"))
    assert "64" in caught.value.problem.en


def test_a_model_without_chat_template_says_so(
    language_model: LanguageModel, folder: Path, tmp_path: Path
) -> None:
    import shutil

    shutil.copytree(folder, tmp_path / "plain")
    (tmp_path / "plain" / "chat_template.jinja").unlink()
    (tmp_path / "plain" / "hanlin.json").unlink()
    plain = load(tmp_path / "plain", device="cpu")
    assert plain.generate("学", max_new_tokens=1).new_tokens == 1
    with pytest.raises(CheckpointError, match="template"):
        plain.chat(turns("学"))


def test_logprob_is_the_sum_over_tokens(language_model: LanguageModel) -> None:
    text = "The scholars read 史书。"
    ids = language_model.tokenizer.encode_prompt(text)
    assert ids[0] == language_model.tokenizer.bos_id
    with torch.inference_mode():
        table = language_model.engine.model(torch.tensor([ids]))[0].double().log_softmax(-1)
    expected = sum(float(table[n, id]) for n, id in enumerate(ids[1:]))
    assert language_model.logprob(text) == pytest.approx(expected, abs=1e-4)


def test_logprob_obeys_the_chain_rule(language_model: LanguageModel) -> None:
    text = "The scholars read the histories"
    ids = language_model.tokenizer.encode(text)
    for cut in range(2, len(ids)):
        a, b = language_model.tokenizer.decode(ids[:cut]), language_model.tokenizer.decode(ids[cut:])
        assert language_model.tokenizer.encode(a) + language_model.tokenizer.encode(b) == ids
        parts = language_model.logprob(a) + language_model.logprob(a, b)
        assert parts == pytest.approx(language_model.logprob(text), abs=1e-4)


def test_long_texts_score_every_token_once_with_half_a_window_before(language_model: LanguageModel) -> None:
    model, compute = language_model.engine.model, language_model.engine.compute
    ids = torch.randint(4, 290, (201,), generator=torch.Generator().manual_seed(2)).tolist()
    window = model.config.window
    for first in (1, 40, 64, 65, 150, 200):
        (scores,) = token_log_probabilities(model, [ids], compute, first)
        assert len(scores) == len(ids) - first
    (scores,) = token_log_probabilities(model, [ids], compute)
    with torch.inference_mode():
        for t in range(1, len(ids)):
            stops = [window + 1 + n * (window // 2) for n in range(9)]
            stop = min(len(ids), next(stop for stop in stops if stop > t))
            start = max(0, stop - window - 1)
            assert t - start >= min(t, window // 2)
            logits = model(torch.tensor([ids[start:t]]))[0, -1]
            assert float(scores[t - 1]) == pytest.approx(float(logits.log_softmax(-1)[ids[t]]), abs=1e-4)


def test_nothing_to_score(language_model: LanguageModel) -> None:
    for arguments in (("",), ("t", "")):
        with pytest.raises(RequestError, match="no token"):
            language_model.logprob(*arguments)
    assert language_model.logprob("t", "e") < 0


def test_a_text_that_ended_in_the_step_of_another_thread_is_whole(
    language_model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = language_model.generate("The", seed=1, max_new_tokens=2)
    mine = language_model.stream("The", seed=1, max_new_tokens=2)
    text = next(mine).text
    step, stepped = language_model.engine.step, threading.Event()

    def slow_step() -> list[Piece]:
        pieces = step()
        stepped.set()
        time.sleep(0.1)  # mine has ended now, and its last piece is not yet in its mailbox
        return pieces

    monkeypatch.setattr(language_model.engine, "step", slow_step)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(language_model.generate, "The", seed=2, max_new_tokens=2)
        assert stepped.wait(30)
        (last,) = mine
        assert (text + last.text, last.finish_reason) == (expected.text, "length")
        assert other.result().finish_reason == "length"
