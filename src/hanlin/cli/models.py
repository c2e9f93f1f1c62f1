"""Verbs that take a model; each imports its stage when called."""

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from hanlin.cli.arguments import Json, ModelPath, as_json


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


def serve(
    model: ModelPath,
    *overrides: Annotated[str, Parameter(help="Settings such as port=8001 or host=0.0.0.0.")],
    task: Annotated[
        tuple[str, ...],
        Parameter(
            negative=(),
            help="A fine-tuned folder to serve beside it, name=folder; may be given several times.",
        ),
    ] = (),
    encoder: Annotated[
        str | None, Parameter(help="A model of sentence vectors, served beside it as /v1/embeddings.")
    ] = None,
    adapter: Annotated[
        tuple[str, ...],
        Parameter(
            negative=(),
            help="An adapter of the model, name=folder, asked for as MODEL:name; may be given several times.",
        ),
    ] = (),
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
) -> None:
    """Serve a model over HTTP (OpenAI API) with a chat page, or what a fine-tuned folder does as /v1/tasks/NAME."""
    from hanlin.stages.serve import run_serve

    sys.exit(run_serve(model, overrides, device, task, encoder, adapter))


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

    print(as_json(run_convert(source, target, dtype, kind)))


def average(
    *models: Annotated[
        Path, Parameter(help="Checkpoints or model folders of one shape; the last is the new folder.")
    ],
    json: Json = False,
) -> None:
    """Write the mean of the weights of several checkpoints as a new model folder."""
    from hanlin.stages.average import run_average

    report = run_average(models)
    print(as_json(report) if json else models[-1])
