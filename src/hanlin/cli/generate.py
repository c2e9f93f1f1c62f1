"""The verbs `generate` and `fill`: what a model writes after prompts, and in the place of masks."""

import json as json_module
import sys
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from hanlin.base.errors import ConfigError
from hanlin.base.language import Text
from hanlin.cli.arguments import (
    AdapterFolders,
    Device,
    EngineName,
    Json,
    ModelPath,
    Others,
    Weights,
    adapter_folders,
    as_json,
    other_parameters,
    without_defaults,
)


def generate(
    model: ModelPath,
    *prompts: Annotated[
        str, Parameter(help="Texts to continue; without any and without --input, lines of standard input.")
    ],
    input: Annotated[
        tuple[Path, ...],
        Parameter(negative=(), help="A file: a prompt a line, or .jsonl records with a prompt or messages."),
    ] = (),
    output: Annotated[
        Path | None, Parameter(help="A .jsonl or .txt file; an unfinished one is gone on with.")
    ] = None,
    field: Annotated[str | None, Parameter(help="The field of records that holds the prompt.")] = None,
    chat: Annotated[
        bool, Parameter(negative=(), help="Prompts are questions to a model that converses.")
    ] = False,
    system: Annotated[str | None, Parameter(help="With --chat: instructions before each question.")] = None,
    template: Annotated[
        str | None, Parameter(help="A prompt template: summarise, translate, ... or a YAML file.")
    ] = None,
    var: Annotated[
        tuple[str, ...], Parameter(negative=(), help="A variable of the template, as name=value.")
    ] = (),
    language: Annotated[Literal["en", "zh"] | None, Parameter(help="Of the template.")] = None,
    n: Annotated[int, Parameter(help="Texts for each prompt.")] = 1,
    beams: Annotated[int | None, Parameter(help="Look for the likeliest texts, so many at once.")] = None,
    json_schema: Annotated[Path | None, Parameter(help="A file; the text is JSON that satisfies it.")] = None,
    regex: Annotated[str | None, Parameter(help="What the whole text matches.")] = None,
    grammar: Annotated[
        Path | None, Parameter(help="A file in the notation of Lark; the text is of it.")
    ] = None,
    choice: Annotated[
        tuple[str, ...], Parameter(negative=(), help="The text is this one, or another that is given so.")
    ] = (),
    max_new_tokens: int | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float | None = None,
    stop: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    seed: int | None = None,
    log_probabilities: Annotated[
        int | None, Parameter(help="Tell those of each token, and of so many others in its place; in JSON.")
    ] = None,
    overflow: Annotated[
        Literal["trim", "refuse"] | None,
        Parameter(
            help="Prompts beyond the window: cut or refuse; else conversations are cut, texts refused."
        ),
    ] = None,
    adapter: AdapterFolders = (),
    engine: EngineName = "auto",
    weights: Weights = "auto",
    device: Device = "auto",
    json: Json = False,
    fresh: Annotated[
        bool, Parameter(negative=(), help="Throw an unfinished run for this output away.")
    ] = False,
    **others: Others,
) -> None:
    """Continue texts, answer questions or fill in prompt templates; the text goes to standard output or a file."""
    from hanlin.generate.language_model import load
    from hanlin.generate.prompt_template import load_template
    from hanlin.stages import generate as stage
    from hanlin.stages.generate_prompts import Reading, read_prompts

    given = without_defaults(
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        stop=stop or None,
        seed=seed,
        log_probabilities=log_probabilities,
        json_schema=None if json_schema is None else _json_file(json_schema),
        regex=regex,
        grammar=None if grammar is None else _text_file(grammar),
        choices=choice or None,
        **other_parameters(others),
    )
    stage.check_output(output)
    _check_json(log_probabilities, json, output)
    chosen = None if template is None else load_template(template)
    reading = Reading(field, chat, system, chosen, language, _variables(var))
    reading.check()
    read = read_prompts(prompts, input, sys.stdin, reading)
    if prompts or input:  # what is wrong with them is told before the model is loaded
        read = iter(list(read))
    folders = adapter_folders(adapter)
    loaded = load(model, device, engine=engine, weights=weights, adapters=folders)
    asked = stage.Asked(given, n, None, next(iter(folders), None), overflow)
    if beams is not None:
        asked = stage.Asked({}, 1, {"beams": beams, "best": n, **given}, asked.adapter, overflow)
    asked.check(loaded)
    if output is None:
        eager = sys.stdin.isatty() if not (prompts or input) else len(prompts) == 1 and not input
        stage.stream_texts(loaded, asked, read, sys.stdout, json, eager)
    else:
        stage.run_generate(loaded, model, asked, list(read), output, fresh)
        print(output)


def fill(
    model: Annotated[str, Parameter(help="A folder of a masked language model, such as BERT, or its name.")],
    *texts: Annotated[str, Parameter(help="Texts with mask tokens; without any, lines of standard input.")],
    k: Annotated[int, Parameter(help="How many guesses for each mask.")] = 5,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Guess what stands in the place of mask tokens."""
    from dataclasses import asdict

    from hanlin.generate.embedding import load_encoder

    encoder = load_encoder(model, device)
    for text in chain(texts, () if texts else (line.rstrip("\n") for line in sys.stdin)):
        guesses = encoder.fill(text, k)
        if json:
            filled = [[asdict(guess) for guess in one] for one in guesses]
            print(as_json({"text": text, "masks": filled}, indent=None))
            continue
        for one in guesses:
            print("  ".join(f"{guess.text.strip()} {guess.probability:.3f}" for guess in one))


def _variables(given: tuple[str, ...]) -> dict[str, Any]:
    """`name=value`; several values, or a JSON list, are a list."""
    values: dict[str, list[str]] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals:
            raise ConfigError(
                Text(f"--var {one}: not a name and a value.", f"--var {one}：不是“名称=值”。"),
                Text("Write --var name=value.", "请写作 --var 名称=值。"),
            )
        values.setdefault(name, []).append(value)
    return other_parameters({name: tuple(several) for name, several in values.items()})


def _check_json(log_probabilities: int | None, json: bool, output: Path | None) -> None:
    if log_probabilities is not None and not json and (output is None or output.suffix.lower() != ".jsonl"):
        raise ConfigError(
            Text("--log-probabilities are told in JSON only.", "--log-probabilities 只在 JSON 中给出。"),
            Text("Add --json, or write a .jsonl file.", "请加上 --json，或写出 .jsonl 文件。"),
        )


def _text_file(path: Path) -> str:
    from hanlin.stages.texts import read_lines

    return "\n".join(read_lines(path))


def _json_file(path: Path) -> Any:
    text = _text_file(path)
    try:
        return json_module.loads(text)
    except ValueError as error:
        raise ConfigError(
            Text(f"{path} is not JSON: {error}", f"{path} 不是有效的 JSON：{error}"),
            Text("Mend the file.", "请修改该文件。"),
        ) from error
