"""`hanlin generate`: prompts -> their continuations or answers, on standard output or in a file.

All prompts go through the engine together. A file's results are kept in a journal beside it until all are there; then
it appears whole.
"""

import hashlib
import json
import shutil
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

from hanlin.base.errors import HanlinError, RequestError
from hanlin.base.files import atomic_file
from hanlin.base.interrupt import Interrupted, interruptible
from hanlin.base.language import Text
from hanlin.base.lock import locked
from hanlin.base.progress import console, progress_bar
from hanlin.generate.beam_config import BeamConfig
from hanlin.generate.completion import Completion
from hanlin.generate.conversation import Overflow
from hanlin.generate.decoder_beam import BeamText
from hanlin.generate.driving import Request, check_number
from hanlin.generate.language_model import LanguageModel, Messages
from hanlin.stages.generate_prompts import Prompt, at_place
from hanlin.stages.journal import Journal, beside
from hanlin.stages.lineage import model_fingerprint

ENDINGS = (".jsonl", ".txt")


@dataclass(frozen=True)
class Asked:
    """What is asked of every prompt. n: samples. search: settings of a beam search, which takes the place of drawing."""

    parameters: dict[str, Any] = field(default_factory=dict)
    n: int = 1
    search: dict[str, Any] | None = None
    adapter: str | None = None
    overflow: Overflow | None = None

    def check(self, model: LanguageModel) -> None:
        """Raise `RequestError` for parameters that are wrong, whatever the prompts are."""
        check_number(self.n)
        if self.search is None:
            model.defaults.changed(self.parameters)
            return
        BeamConfig.chosen({name: value for name, value in self.search.items() if name != "max_new_tokens"})


def check_output(output: Path | None) -> None:
    """Raise `RequestError` unless `output` can be a file and its ending says what to write; before any work is done."""
    if output is not None and output.suffix.lower() not in ENDINGS:
        raise RequestError(
            Text(f"{output}: the ending does not say what to write.", f"{output}：扩展名未指明输出格式。"),
            Text(f"Choose one of {', '.join(ENDINGS)}.", f"请选用 {'、'.join(ENDINGS)} 之一。"),
        )
    if output is not None and output.is_dir():
        raise RequestError(
            Text(f"{output} is a folder.", f"{output} 是一个目录。"),
            Text("Name a file that is to be written.", "请指定要写出的文件。"),
        )


def stream_texts(
    model: LanguageModel, asked: Asked, prompts: Iterable[Prompt], out: IO[str], json_lines: bool, eager: bool
) -> None:
    """Write each result as it comes, in order. eager: one prompt at a time, its text token by token."""
    if eager and not json_lines and asked.n == 1 and asked.search is None:
        for prompt in prompts:
            pieces = model.driver.stream(_request(model, asked, prompt))
            first = list(islice(pieces, 1))  # what is wrong is told before anything stands there
            out.write(prompt.said if isinstance(prompt.said, str) else "")
            for piece in chain(first, pieces):
                out.write(piece.text)
                out.flush()
            out.write("\n")
        return
    for prompt, results in _answered(model, asked, prompts, ahead=1 if eager else 0):
        out.writelines(_lines(prompt, _records(results), json_lines))
        out.flush()


def run_generate(
    model: LanguageModel,
    folder: Path,
    asked: Asked,
    prompts: Sequence[Prompt],
    output: Path,
    fresh: bool = False,
) -> None:
    """Continue or answer all prompts into `output`, which appears whole.

    Raises `Interrupted` after Ctrl-C: the same command goes on where it was, and with a seed, or at temperature 0, ends
    with the same file. Raises `DataError` naming the first prompt that does not fit, before anything is computed, and
    `ConfigError` if the unfinished run for this output was of something else.
    """
    check_output(output)
    for prompt in prompts:
        _request(model, asked, prompt)
    place = beside(output)
    if fresh:
        shutil.rmtree(place, ignore_errors=True)
    journal = Journal(place / "completions.jsonl", _identity(model, folder, asked, prompts))
    as_json = output.suffix.lower() == ".jsonl"
    try:
        with locked(place):
            _complete_all(model, asked, prompts, journal)
            with atomic_file(output) as file:
                for prompt, kept in zip(prompts, journal.read(), strict=True):
                    file.writelines(_lines(prompt, kept["results"], as_json))
            journal.rows = 0  # all of them stand in the output
    finally:
        if not journal.rows:
            shutil.rmtree(place, ignore_errors=True)


def _complete_all(model: LanguageModel, asked: Asked, prompts: Sequence[Prompt], journal: Journal) -> None:
    """Fill the journal, a row a prompt; raises as `run_generate`."""
    done = journal.begin(1)
    if done:
        console.print(str(Text(f"Going on behind prompt {done:,}.", f"从第 {done:,} 个提示词之后继续。")))
    began, tokens = time.perf_counter(), 0
    with interruptible() as interrupt, progress_bar() as bar:
        shown = bar.add_task(str(Text("generate", "生成")), total=len(prompts), completed=done, detail="")
        for _, results in _answered(model, asked, prompts[done:]):
            journal.append([{"results": _records(results)}])
            done += 1
            tokens += sum(
                one.new_tokens if isinstance(one, Completion) else len(one.token_ids) for one in results
            )
            speed = tokens / max(1e-9, time.perf_counter() - began)
            bar.update(
                shown, completed=done, detail=str(Text(f"{speed:.0f} tokens/s", f"每秒 {speed:.0f} 个词元"))
            )
            if interrupt.requested and done < len(prompts):
                console.print(
                    str(Text(f"Stopped behind prompt {done:,}; saved. The same command goes on from there.",
                             f"已停在第 {done:,} 个提示词之后，已保存。再次运行同一命令即可继续。"))
                )  # fmt: skip
                raise Interrupted
    if tokens:
        seconds = time.perf_counter() - began
        rate = f"{tokens / seconds:.0f}"
        console.print(
            str(
                Text(
                    f"{tokens:,} tokens in {seconds:.1f} s, {rate} a second.",
                    f"{tokens:,} 个词元，用时 {seconds:.1f} 秒，每秒 {rate} 个。",
                )
            )
        )


def _answered(
    model: LanguageModel, asked: Asked, prompts: Iterable[Prompt], ahead: int = 0
) -> Iterator[tuple[Prompt, Sequence[Completion | BeamText]]]:
    """Each prompt, in order, with its results."""
    if asked.search is not None:
        for prompt in prompts:
            _request(model, asked, prompt)  # says where a prompt stands that cannot be
            yield (
                prompt,
                model.beam(
                    _said(model, prompt), adapter=asked.adapter, overflow=asked.overflow, **asked.search
                ),
            )
        return
    waiting = deque[Prompt]()

    def requests() -> Iterator[Request]:
        for prompt in prompts:
            drawn = _request(model, asked, prompt).drawn(asked.n)
            waiting.append(prompt)
            yield from drawn

    completions = model.finish(requests(), ahead)
    while part := list(islice(completions, asked.n)):
        yield waiting.popleft(), part


def _request(model: LanguageModel, asked: Asked, prompt: Prompt) -> Request:
    parameters = prompt.held_to | asked.parameters
    if asked.search is not None:
        if prompt.held_to:
            raise _not_searched(next(iter(prompt.held_to)))
        parameters = {"max_new_tokens": asked.search.get("max_new_tokens", model.defaults.max_new_tokens)}
    try:
        return model.request(
            _said(model, prompt), adapter=asked.adapter, overflow=asked.overflow, **parameters
        )
    except HanlinError as error:
        raise at_place(prompt.place, error) from error


def _said(model: LanguageModel, prompt: Prompt) -> str | Messages:
    """What a template says is a question for models that converse, and a text for the others."""
    if isinstance(prompt.said, str) or not prompt.from_template or model.tokenizer.chat_template is not None:
        return prompt.said
    return "\n\n".join(message.content for message in prompt.said) + "\n"


def _records(results: Sequence[Completion | BeamText]) -> list[dict[str, Any]]:
    """Results as they stand in JSON: what there is not is left out, and what hangs on the requests before."""
    records = [asdict(one) for one in results]
    return [
        {name: value for name, value in one.items() if value not in ((), None) and name != "cached_tokens"}
        for one in records
    ]


def _lines(prompt: Prompt, results: Sequence[dict[str, Any]], as_json: bool) -> Iterator[str]:
    for number, result in enumerate(results):
        if not as_json:
            yield f"{prompt.said if isinstance(prompt.said, str) else ''}{result['text']}\n"
            continue
        said = {"prompt": prompt.said} if isinstance(prompt.said, str) else {
            "messages": [message.model_dump() for message in prompt.said]
        }  # fmt: skip
        order = {"number": number} if len(results) > 1 else {}
        yield json.dumps({**prompt.beside, **said, **order, **result}, ensure_ascii=False, default=str) + "\n"


def _identity(model: LanguageModel, folder: Path, asked: Asked, prompts: Sequence[Prompt]) -> dict[str, Any]:
    """What the results hang on."""
    said = json.dumps([asdict(prompt) for prompt in prompts], default=lambda one: one.model_dump())
    return {
        "model": model_fingerprint(str(folder)),
        "engine": model.engine_name,
        "device": model.compute.device.type,
        "prompts": hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:16],
        "asked": json.loads(json.dumps(asdict(asked))),
    }


def _not_searched(constraint: str) -> RequestError:
    return RequestError(
        Text(f"This template holds answers to its {constraint}, which a beam search (--beams) cannot.",
             f"该模板用 {constraint} 约束回答，而束搜索（--beams）做不到。"),
        Text("Leave --beams out.", "请去掉 --beams。"),
    )  # fmt: skip
