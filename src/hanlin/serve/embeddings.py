"""POST /v1/embeddings: texts as vectors, by an encoder that is served beside the language model."""

import base64
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter
from pydantic import Field

from hanlin.base.errors import HanlinError
from hanlin.base.language import Text
from hanlin.generate.embedding import SentenceEncoder
from hanlin.serve.body import Body
from hanlin.serve.config import ServeConfig
from hanlin.serve.problems import ApiProblem, from_hanlin
from hanlin.serve.replies import ErrorReply, Reply
from hanlin.serve.requests import Prompts
from hanlin.serve.tasks import TaskWorker


class EmbeddingsBody(Body):
    """Body of POST /v1/embeddings."""

    model: str
    """Name of the encoder, as /v1/models gives it."""
    input: Prompts
    """A text or several, each as a string or as ids of tokens."""
    encoding_format: Literal["float", "base64"] | None = None
    """Numbers, or the little-endian float32 bytes in base64."""
    dimensions: int | None = Field(None, ge=1)
    """Only the encoder's own size."""
    user: str | None = None
    """Accepted."""


class Vector(Reply):
    """One text's vector."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: Annotated[list[float] | str, Field(union_mode="left_to_right")]


class EmbeddingUsage(Reply):
    """Tokens that were read."""

    prompt_tokens: int
    total_tokens: int


class Embeddings(Reply):
    """Answer of POST /v1/embeddings."""

    object: Literal["list"] = "list"
    data: list[Vector]
    model: str
    usage: EmbeddingUsage


def embedding_routes(encoder: SentenceEncoder | None, config: ServeConfig, worker: TaskWorker) -> APIRouter:
    """The route; without an encoder it says so."""
    errors: dict[int | str, dict[str, Any]] = {status: {"model": ErrorReply} for status in ("4XX", "5XX")}
    router = APIRouter(prefix="/v1", responses=errors)

    @router.post("/embeddings")
    async def embeddings(body: EmbeddingsBody) -> Embeddings:
        """Turn texts into vectors."""
        served = _encoder(encoder, body, config)
        texts = _texts(body, served)
        vectors_NC, tokens = (await worker.run("embeddings", lambda: [_embed(served, texts)], len(texts)))[0]
        as_text = body.encoding_format == "base64"
        data = [Vector(index=n, embedding=_written(row, as_text)) for n, row in enumerate(vectors_NC)]
        return Embeddings(
            data=data, model=body.model, usage=EmbeddingUsage(prompt_tokens=tokens, total_tokens=tokens)
        )

    return router


def _encoder(encoder: SentenceEncoder | None, body: EmbeddingsBody, config: ServeConfig) -> SentenceEncoder:
    if encoder is None or body.model != encoder.name:
        there = "-" if encoder is None else encoder.name
        raise ApiProblem(
            404,
            Text(f"There is no encoder '{body.model[:100]}' here. Encoders: {there}. Start with --encoder to add one.",
                 f"这里没有编码器“{body.model[:100]}”。现有：{there}。可用 --encoder 启动时加入。"),
            param="model",
            code="model_not_found",
        )  # fmt: skip
    if body.dimensions not in (None, encoder.size):
        raise ApiProblem(
            400,
            Text(f"'dimensions' can only be {encoder.size} with this encoder.",
                 f"使用该编码器时，“dimensions”只能为 {encoder.size}。"),
            param="dimensions",
            code="invalid_value",
        )  # fmt: skip
    if len(body.input) > config.max_inputs:
        raise ApiProblem(
            400,
            Text(f"'input' may hold at most {config.max_inputs} texts.", f"“input”最多 {config.max_inputs} 段文本。"),
            param="input",
            code="invalid_value",
        )  # fmt: skip
    return encoder


def _texts(body: EmbeddingsBody, encoder: SentenceEncoder) -> list[str]:
    try:
        return [one if isinstance(one, str) else encoder.tokenizer.decode(one) for one in body.input]
    except HanlinError as error:
        raise from_hanlin(error, "input", "invalid_value") from error


def _embed(encoder: SentenceEncoder, texts: list[str]) -> tuple[Any, int]:
    try:
        return encoder.embed(texts).vectors_NC, sum(len(encoder.encode(text).ids) for text in texts)
    except HanlinError as error:
        raise from_hanlin(error, "input", "invalid_value") from error


def _written(row: Any, as_text: bool) -> list[float] | str:
    return base64.b64encode(row.astype("<f4").tobytes()).decode() if as_text else np.asarray(row).tolist()
