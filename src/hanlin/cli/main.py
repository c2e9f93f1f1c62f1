"""`hanlin <verb>`: every verb reads its arguments here and calls its stage, imported when called."""

import io
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from hanlin import __version__
from hanlin.base.errors import HanlinError
from hanlin.base.interrupt import Interrupted
from hanlin.base.language import Text
from hanlin.base.progress import console

app = App(
    name="hanlin",
    help=str(
        Text(
            "A language model of your own: from raw text to a trained, examined and served model.",
            "自己的语言模型：从原始文本到训练、考核、上线。",
        )
    ),
    version=__version__,
    help_format="plaintext",
    result_action="return_value",
    suppress_keyboard_interrupt=False,  # `main` says what Ctrl-C leaves
)

Overrides = Annotated[str, Parameter(help="Settings that differ from the recipe, such as model.layers=6.")]
RecipePath = Annotated[Path, Parameter(help="The recipe, a YAML file.")]
ModelPath = Annotated[
    Path,
    Parameter(
        help="A model folder, the folder of a run, a .gguf file, or a name such as smollm2-135m-instruct."
    ),
]
Json = Annotated[bool, Parameter(negative=(), help="Print JSON for programs.")]
Fresh = Annotated[bool, Parameter(negative=(), help="Throw an earlier training run in this folder away.")]


@app.command
def run(
    recipe: RecipePath,
    *overrides: Overrides,
    from_: Annotated[str | None, Parameter(name="--from", help="First stage to run.")] = None,
    to: Annotated[str | None, Parameter(help="Last stage to run.")] = None,
    dry_run: Annotated[bool, Parameter(negative=(), help="Only say what would be done.")] = False,
) -> None:
    """Walk all stages of a recipe: corpus, tokenizer, pretrain, evaluate."""
    from hanlin.stages.recipe import read_recipe
    from hanlin.stages.run import dry_run as plan_stages
    from hanlin.stages.run import run_recipe
    from hanlin.stages.summary import summary_lines

    chosen = read_recipe(recipe, overrides)
    if dry_run:
        for verb, would_run in plan_stages(chosen, from_, to).items():
            print(
                f"{verb:<10} {Text('would run', '将会运行') if would_run else Text('is current', '无需重做')}"
            )
        return
    run_recipe(chosen, from_, to)
    if to in (None, "evaluate"):
        print("\n".join(summary_lines(chosen)))


@app.command
def plan(recipe: RecipePath, *overrides: Overrides, json: Json = False) -> None:
    """Say parameters, tokens, memory and time of a recipe on this machine."""
    from hanlin.stages.plan import make_plan, plan_lines, plan_values
    from hanlin.stages.recipe import read_recipe

    made = make_plan(read_recipe(recipe, overrides))
    print(_json(plan_values(made)) if json else "\n".join(plan_lines(made)))


@app.command
def corpus(recipe: RecipePath, *overrides: Overrides, json: Json = False) -> None:
    """Read, clean, deduplicate, scrub and split text."""
    from hanlin.stages.corpus import run_corpus
    from hanlin.stages.recipe import read_recipe

    chosen = read_recipe(recipe, overrides)
    _report(run_corpus(chosen).report, chosen.places.corpus, json)


@app.command
def tokenizer(recipe: RecipePath, *overrides: Overrides, json: Json = False) -> None:
    """Train a tokenizer on the corpus."""
    from hanlin.stages.recipe import read_recipe
    from hanlin.stages.tokenizer import run_tokenizer

    chosen = read_recipe(recipe, overrides)
    _report(run_tokenizer(chosen).report, chosen.places.tokenizer, json)


@app.command
def pretrain(recipe: RecipePath, *overrides: Overrides, fresh: Fresh = False, json: Json = False) -> None:
    """Train a model; a stopped run goes on where it was."""
    from hanlin.stages.pretrain import run_pretrain
    from hanlin.stages.recipe import read_recipe

    chosen = read_recipe(recipe, overrides)
    _report(run_pretrain(chosen, fresh).report, chosen.places.model, json)


@app.command
def evaluate(recipe: RecipePath, *overrides: Overrides, json: Json = False) -> None:
    """Examine the trained model on held-out text and write the report."""
    from hanlin.evaluate.results import read_results
    from hanlin.stages.evaluate import run_evaluate
    from hanlin.stages.recipe import read_recipe
    from hanlin.stages.summary import summary_lines

    chosen = read_recipe(recipe, overrides)
    run_evaluate(chosen)
    results = read_results(chosen.places.evaluate / "results.json")
    print(results.model_dump_json(indent=1) if json else "\n".join(summary_lines(chosen)))


@app.command
def ladder(recipe: RecipePath, *overrides: Overrides, json: Json = False) -> None:
    """Hold n-gram, feed-forward, recurrent and Transformer models against each other under one budget."""
    from hanlin.stages.ladder import print_ladder, run_ladder
    from hanlin.stages.recipe import read_recipe

    chosen = read_recipe(recipe, overrides)
    found = run_ladder(chosen)
    if json:
        print(found.model_dump_json(indent=1))
    else:
        print_ladder(found, chosen.places.ladder)


@app.command
def generate(
    model: ModelPath,
    *prompts: Annotated[str, Parameter(help="Beginnings to continue; without any, lines of standard input.")],
    max_new_tokens: int | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float | None = None,
    stop: tuple[str, ...] = (),
    seed: int | None = None,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    json: Json = False,
) -> None:
    """Continue texts; the text goes to standard output."""
    from dataclasses import asdict

    from hanlin.generate.language_model import load

    given = _given(
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        stop=stop or None,
        seed=seed,
    )
    loaded = load(model, device)
    loaded.defaults.changed(given)
    for prompt in prompts or (line.rstrip("\n") for line in sys.stdin):
        if json:
            completion = loaded.generate(prompt, **given)
            print(_json({"prompt": prompt, **asdict(completion)}, indent=None))
            continue
        pieces = loaded.stream(prompt, **given)  # wrong input raises here, before anything is written
        sys.stdout.write(prompt)
        for piece in pieces:
            sys.stdout.write(piece.text)
            sys.stdout.flush()
        sys.stdout.write("\n")


@app.command
def chat(
    model: ModelPath,
    *,
    system: Annotated[
        str | None, Parameter(help="Instructions that stay at the head of the conversation.")
    ] = None,
    max_new_tokens: int | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
) -> None:
    """Talk with a model in the terminal."""
    from hanlin.generate.language_model import load
    from hanlin.stages.chat import read_terminal, run_chat

    given = _given(max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p, seed=seed)
    loaded = load(model, device)
    loaded.defaults.changed(given)
    run_chat(loaded, system, read_terminal, **given)


@app.command
def embed(
    *files: Annotated[
        Path, Parameter(help="One text a line, or JSONL; without any, lines of standard input.")
    ],
    model: Annotated[str, Parameter(help="A model folder, or a name such as all-minilm-l6-v2.")],
    text: Annotated[tuple[str, ...], Parameter(negative=(), help="A text; may be given several times.")] = (),
    output: Annotated[
        Path | None, Parameter(help="A .npy or .jsonl file; without one, numbers are printed.")
    ] = None,
    field: Annotated[str | None, Parameter(help="The field of JSONL that holds the text.")] = None,
    similarity: Annotated[
        bool, Parameter(negative=(), help="Print the cosine between every two texts.")
    ] = False,
    pooling: Annotated[
        Literal["first", "mean", "last"] | None, Parameter(help="Other than the model's own.")
    ] = None,
    normalize: Annotated[bool | None, Parameter(help="Other than the model's own.")] = None,
    max_tokens: Annotated[
        int | None, Parameter(help="Where texts are cut, if not where the model's own are.")
    ] = None,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    json: Json = False,
) -> None:
    """Turn texts into vectors."""
    from hanlin.generate.embedding import load_encoder
    from hanlin.stages import embed as stage
    from hanlin.stages.texts import gather_texts

    stage.check_output(output)
    texts = gather_texts(files, text, field, sys.stdin)
    encoder = load_encoder(model, device, pooling=pooling, normalize=normalize, max_tokens=max_tokens)
    vectors = stage.run_embed(encoder, texts, output).vectors_NC
    if similarity:
        lines = stage.similarity_records if json else stage.similarity_lines
        print("\n".join(lines(texts, vectors)))
    elif output is None:
        print("\n".join(stage.record_lines(texts, vectors) if json else stage.number_lines(vectors)))


@app.command
def serve(
    model: ModelPath,
    *overrides: Annotated[str, Parameter(help="Settings such as port=8001 or host=0.0.0.0.")],
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
) -> None:
    """Serve a model over HTTP (OpenAI API) with a chat page."""
    from hanlin.stages.serve import run_serve

    run_serve(model, overrides, device)


@app.command
def convert(
    source: ModelPath,
    target: Annotated[Path, Parameter(help="The new folder, or a file ending in .gguf.")],
    *,
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"] | None, Parameter(help="Of a folder's weights; float32.")
    ] = None,
    kind: Annotated[
        Literal["F32", "F16", "Q8_0", "Q4_0"] | None, Parameter(help="Of a GGUF file's matrices; F16.")
    ] = None,
) -> None:
    """Write a model as a folder in another dtype, or as one GGUF file."""
    from hanlin.stages.convert import run_convert

    print(_json(run_convert(source, target, dtype, kind)))


show = App(
    name="show", help="Say what a folder holds, what a model is made of, or what its attention looks at."
)
app.command(show)


@show.default
def show_folder(
    folder: Annotated[Path, Parameter(help="Any folder that Hanlin wrote, or a model folder.")],
) -> None:
    """Say what a folder holds."""
    from hanlin.stages.show import describe_folder

    print(_json(describe_folder(folder)))


@show.command(name="model")
def show_model(model: ModelPath, *, json: Json = False) -> None:
    """Family, settings, parameter table, memory by dtype, cache and operations by token."""
    from hanlin.stages.show_model import describe_model, print_model

    description = describe_model(model)
    if json:
        print(_json(description))
    else:
        print_model(description)


@show.command(name="attention")
def show_attention(model: ModelPath, text: str, *, layer: int = 0, head: int = 0, json: Json = False) -> None:
    """What one head of one block looks at in a text: vectors, scores, weights, result."""
    from hanlin.stages.show_attention import attention_of, attention_values, print_attention

    shown = attention_of(model, text, layer, head)
    if json:
        print(_json(attention_values(shown)))
    else:
        print_attention(shown)


@app.command
def doctor(*, json: Json = False) -> None:
    """Say what this machine has, what works here, what is missing and how to get it."""
    from dataclasses import asdict

    from hanlin.stages.doctor import examine_machine

    findings = examine_machine(Path.cwd())
    if json:
        print(_json([asdict(finding) for finding in findings]))
        return
    for finding in findings:
        print(f"{finding.name:<24} {finding.value}")
        if finding.remedy:
            print(f"{'':<24} -> {finding.remedy}")


def main() -> None:
    """Entry point: a user's mistake is two sentences and exit code 2, never a traceback."""
    # Bytes on standard input that are no characters reach the tokenizer, which says so, instead of ending in a traceback.
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")
    try:
        app()
    except HanlinError as error:
        console.print("hanlin: ", end="", style="bold red")
        console.print(str(error), markup=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except Interrupted:
        sys.exit(130)
    except KeyboardInterrupt:
        console.print(
            str(
                Text(
                    "Stopped. What was finished is kept; the same command goes on after it.",
                    "已停止。已完成的都还在；再次运行同一命令会从其后继续。",
                )
            )
        )
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read our output has gone (`| head`); Python would complain once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


def _given(**values: Any) -> dict[str, Any]:
    """What the user has set."""
    return {name: value for name, value in values.items() if value is not None}


def _json(value: Any, indent: int | None = 1) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent, default=str)


def _report(report: dict[str, Any], folder: Path, as_json: bool) -> None:
    print(_json(report) if as_json else folder)
