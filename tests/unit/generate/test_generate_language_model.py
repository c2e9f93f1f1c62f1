"""What `hanlin.load` returns: completions, streams, conversations, log-probabilities, and clear refusals."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import hanlin
from hanlin.base.errors import CheckpointError, RequestError
from hanlin.base.records import Message
from hanlin.checkpoint.adapters.write import save_adapter
from hanlin.checkpoint.recognize import read_config
from hanlin.generate import runner_scoring
from hanlin.generate.driving import Request
from hanlin.generate.engine import Engine
from hanlin.generate.generation import Generation, Piece
from hanlin.generate.language_model import LanguageModel, load
from hanlin.generate.scoring import token_log_probabilities
from hanlin.model.adapters.adapters import Adapters
from hanlin.model.adapters.config import LoraConfig

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
        table = language_model.decoder(torch.tensor([ids]))[0].double().log_softmax(-1)
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
    model, compute = language_model.decoder, language_model.compute
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


def test_a_text_that_another_thread_advances_before_it_is_known_is_whole(
    language_model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = language_model.generate("The", seed=1, max_new_tokens=3).text
    submit = language_model.engine.submit
    with ThreadPoolExecutor(1) as pool:

        def slow_submit(*asked: Any) -> Generation:
            generation = submit(*asked)
            if threading.current_thread() is threading.main_thread():
                pool.submit(language_model.generate, "The", seed=2, max_new_tokens=1)
                while not generation.new_tokens:  # until the other thread's step has advanced it
                    time.sleep(0.001)
                time.sleep(0.1)  # and could have lost what came
            return generation

        monkeypatch.setattr(language_model.engine, "submit", slow_submit)
        pieces = language_model.stream("The", seed=1, max_new_tokens=3)
        assert "".join(piece.text for piece in pieces) == expected


def test_scoring_that_is_interrupted_leaves_nothing_behind(
    language_model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(runner_scoring, "scores_of_logits", interrupted)
        with pytest.raises(KeyboardInterrupt):
            language_model.logprob("read the histories")
    after = language_model.generate(PROMPT, temperature=0)
    assert isinstance(language_model.engine, Engine)
    fresh = language_model.engine.another(1)
    generation = fresh.submit(
        language_model.tokenizer.encode_prompt(PROMPT), language_model.defaults.changed({"temperature": 0})
    )
    while fresh.busy:
        fresh.step()
    assert after.text == generation.text


def test_several_texts_are_those_of_each_alone(language_model: LanguageModel) -> None:
    prompts = ["The", "翰林院", "scholars read"]
    together = language_model.generate(prompts, temperature=0, max_new_tokens=6)
    assert together == [
        replace(language_model.generate(one, temperature=0, max_new_tokens=6), seed=both.seed)
        for one, both in zip(prompts, together, strict=True)
    ]
    assert {one.model for one in together} == {"tiny"}
    assert language_model.generate([]) == []


def test_samples_draw_with_seeds_that_follow_each_other(language_model: LanguageModel) -> None:
    drawn = language_model.samples(PROMPT, 3, seed=5)
    assert [one.seed for one in drawn] == [5, 6, 7]
    assert drawn == [language_model.generate(PROMPT, seed=seed) for seed in (5, 6, 7)]
    assert len({one.seed for one in language_model.samples(turns("a"), 2, max_new_tokens=1)}) == 2
    with pytest.raises(RequestError, match="n must be >= 1"):
        language_model.samples(PROMPT, 0)


def test_requests_are_taken_only_as_there_is_room(language_model: LanguageModel) -> None:
    taken = 0

    def requests() -> Iterator[Request]:
        nonlocal taken
        for _ in range(6):
            taken += 1
            yield language_model.request(PROMPT, max_new_tokens=1)

    results = language_model.finish(requests(), ahead=2)
    next(results)
    assert taken == 2
    results.close()  # type: ignore[attr-defined]
    language_model.engine.step()
    assert not language_model.engine.busy


def test_log_probabilities_come_with_tokens_as_text(language_model: LanguageModel) -> None:
    completion = language_model.generate(PROMPT, temperature=0, log_probabilities=2, max_new_tokens=4)
    assert len(completion.tokens) == completion.new_tokens == 4
    for token in completion.tokens:
        assert token.log_probability == token.top[0].log_probability
        assert token.text == language_model.tokenizer.decode([token.id], skip_special=False)
    assert language_model.generate(PROMPT, max_new_tokens=4).tokens == ()


def test_beams_give_the_likeliest_and_leave_the_engine_clean(language_model: LanguageModel) -> None:
    before = language_model.generate(PROMPT, temperature=0, max_new_tokens=6)
    best, second = language_model.beam(PROMPT, beams=4, best=2, max_new_tokens=5)
    assert best.score >= second.score
    said = language_model.tokenizer.decode(list(best.token_ids))
    assert said == best.text
    after = language_model.generate(PROMPT, temperature=0, max_new_tokens=6)
    assert after.text == before.text
    with pytest.raises(RequestError, match="temperature"):
        language_model.beam(PROMPT, temperature=1)


def test_a_text_that_is_too_long_is_refused_or_keeps_its_end(language_model: LanguageModel) -> None:
    text = "学" * 200
    ids = language_model.tokenizer.encode_prompt(text)
    with pytest.raises(RequestError, match="64"):
        language_model.generate(text)
    request = language_model.request(text, overflow="trim", max_new_tokens=10)
    assert request.prompt.ids == [ids[0], *ids[-53:]]
    completion = language_model.generate(text, overflow="trim", max_new_tokens=10)
    assert (completion.prompt_tokens, completion.dropped_tokens) == (54, len(ids) - 54)
    assert language_model.generate("The", overflow="trim", max_new_tokens=2).dropped_tokens == 0
    with pytest.raises(RequestError, match="max_new_tokens"):
        language_model.generate(text, overflow="trim", max_new_tokens=64)


def test_a_conversation_that_is_too_long_is_trimmed_or_refused(language_model: LanguageModel) -> None:
    messages = turns("a", "b", "c", "d", "e", "f", "g", system="s")
    answer = language_model.chat(messages, max_new_tokens=30)
    assert answer.dropped_turns > 0
    with pytest.raises(RequestError, match="overflow: trim"):
        language_model.chat(messages, max_new_tokens=30, overflow="refuse")
    assert language_model.chat(turns("a"), max_new_tokens=30, overflow="refuse").dropped_turns == 0


def test_adapters_are_named_by_request(folder: Path, tmp_path: Path) -> None:
    base = load(folder, "cpu", engine="torch")
    adapters = Adapters(base.decoder)
    torch.manual_seed(1)
    adapters.add("law", LoraConfig(layers=("attention.query", "ffn.up"), rank=2))
    for change in adapters.changes("law").values():
        for parameter in change.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    save_adapter(tmp_path / "law", adapters, "law", read_config(folder)[0], base=str(folder))
    model = load(folder, "cpu", adapters={"law": tmp_path / "law"})
    assert model.engine_name == "torch"
    assert "adapters" in model.engine_reason.en
    plain, changed = (model.generate(PROMPT, temperature=0, adapter=name) for name in (None, "law"))
    assert plain.text != changed.text
    assert changed.adapter == "law"
    assert plain.text == load(folder, "cpu").generate(PROMPT, temperature=0).text
    for ask in (model.generate, model.stream, model.beam):
        with pytest.raises(RequestError, match="no adapter nobody; there are: law"):
            ask(PROMPT, adapter="nobody")


def test_speculation_changes_no_text(folder: Path) -> None:
    plain = load(folder, "cpu").generate("ab" * 12, seed=1)
    for guesses in ("prompt", str(folder)):
        assert load(folder, "cpu", speculation=guesses).generate("ab" * 12, seed=1) == plain


def test_vectors_and_masks(language_model: LanguageModel) -> None:
    vectors_NC = language_model.embed(["The academy", "学"])
    assert vectors_NC.shape == (2, 32)
    with pytest.raises(RequestError, match="masked language model"):
        language_model.fill("The [MASK]")


def test_one_line_gives_the_whole_text(folder: Path) -> None:
    assert hanlin.complete(PROMPT, model=folder, seed=1) == load(folder).generate(PROMPT, seed=1)
    texts = hanlin.complete(["The", "学"], model=folder, device="cpu", seed=1)
    assert [type(one) for one in texts] == [hanlin.Completion] * 2
