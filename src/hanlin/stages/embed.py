"""`hanlin embed`: one vector for each text, as numbers, JSONL or .npy, or the cosines between them.

N texts, C width.
"""

import io
import json
from pathlib import Path

import numpy as np

from hanlin.base.errors import RequestError
from hanlin.base.files import atomic_file
from hanlin.base.language import Text
from hanlin.base.progress import console
from hanlin.generate.embedding import Embedded, SentenceEncoder, Vectors, similarity

ENDINGS = (".npy", ".jsonl")

MANY_UNKNOWN = 0.05
"""The share of unknown tokens from which vectors say little."""


def check_output(output: Path | None) -> None:
    """Raise `RequestError` unless the ending of `output` says what to write; before any work is done."""
    if output is not None and output.suffix.lower() not in ENDINGS:
        raise RequestError(
            Text(f"{output}: the ending does not say what to write.", f"{output}：扩展名未指明输出格式。"),
            Text(f"Choose one of {', '.join(ENDINGS)}.", f"请选用 {'、'.join(ENDINGS)} 之一。"),
        )


def run_embed(encoder: SentenceEncoder, texts: list[str], output: Path | None) -> Embedded:
    """Embed `texts`, write the vectors to `output` if there is one, and say on stderr how it was done."""
    embedded = encoder.embed(texts, str(Text("Embedding", "计算向量")))
    if output is not None:
        write_vectors(output, texts, embedded.vectors_NC)
    console.print("\n".join(summary_lines(encoder, embedded, texts)), markup=False, soft_wrap=True)
    return embedded


def write_vectors(path: Path, texts: list[str], vectors_NC: Vectors) -> None:
    """Write a float32 array (N, C) as .npy, or a record a text as .jsonl, whole or not at all."""
    if path.suffix.lower() == ".npy":
        with atomic_file(path, "wb") as file:
            # Through memory: numpy does not say what the system said when the disk is full.
            content = io.BytesIO()
            np.save(content, vectors_NC, allow_pickle=False)
            file.write(content.getbuffer())
        return
    with atomic_file(path) as file:
        file.writelines(f"{line}\n" for line in record_lines(texts, vectors_NC))


def record_lines(texts: list[str], vectors_NC: Vectors) -> list[str]:
    """One JSON object a text: `text` and `embedding`, in the fewest digits that give the float32 back."""
    return [
        json.dumps({"text": text, "embedding": _numbers(vector_C)}, ensure_ascii=False)
        for text, vector_C in zip(texts, vectors_NC, strict=True)
    ]


def number_lines(vectors_NC: Vectors) -> list[str]:
    """One line a text, numbers apart by blanks."""
    return [" ".join(map(str, _numbers(vector_C))) for vector_C in vectors_NC]


def similarity_lines(texts: list[str], vectors_NC: Vectors) -> list[str]:
    """The table of cosines, each row with the beginning of its text."""
    return [
        " ".join(f"{cosine:6.3f}" for cosine in row) + f"  {text[:48]}"
        for text, row in zip(texts, similarity(vectors_NC), strict=True)
    ]


def similarity_records(texts: list[str], vectors_NC: Vectors) -> list[str]:
    """One JSON object a text: `text` and `similarity`, its cosines with every text in order."""
    return [
        json.dumps({"text": text, "similarity": _numbers(row)}, ensure_ascii=False)
        for text, row in zip(texts, similarity(vectors_NC), strict=True)
    ]


def summary_lines(encoder: SentenceEncoder, embedded: Embedded, texts: list[str]) -> list[str]:
    """What was done and how, and what was cut."""
    settings, size = encoder.settings, encoder.size
    length = Text("length 1", "长度归一") if settings.normalize else Text("as they come", "不归一化")
    source = settings.source or str(Text("no modules.json: our custom", "没有 modules.json：采用默认做法"))
    lines = [
        Text(f"{len(texts)} texts, {size} numbers each; {encoder.name}.", f"{len(texts)} 个文本，每个 {size} 维；{encoder.name}。"),
        Text(f"Pooling {settings.pooling}, {length.en}, at most {settings.max_tokens} tokens ({source}).",
             f"池化 {settings.pooling}，{length.zh}，至多 {settings.max_tokens} 个词元（{source}）。"),
    ]  # fmt: skip
    if encoder.model.config.assembly == "decoder" and not settings.source:
        lines.append(Text("This model was made to continue text: its vectors compare texts only roughly.",
                          "该模型用于续写文本：其向量只能粗略比较文本。"))  # fmt: skip
    if embedded.unknown >= MANY_UNKNOWN:
        lines.append(Text(f"{embedded.unknown:.0%} of the tokens are unknown to this model: it was not made for such text.",
                          f"{embedded.unknown:.0%} 的词元是该模型不认识的：它并非为这类文本而作。"))  # fmt: skip
    if embedded.cut:
        first = ", ".join(str(number + 1) for number in embedded.cut[:5])
        lines.append(Text(f"{len(embedded.cut)} were longer and cut: text {first}{' ...' if len(embedded.cut) > 5 else ''}.",
                          f"{len(embedded.cut)} 个过长而被截断：第 {first}{' ……' if len(embedded.cut) > 5 else ''} 个。"))  # fmt: skip
    return [str(line) for line in lines]


def _numbers(vector_C: np.ndarray) -> list[float]:
    """float64 values that print as the shortest decimals of the float32 ones."""
    return [float(str(value)) for value in vector_C]
