"""The application: which route does what. Everything a route needs is passed in; nothing is global."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any, TypeVar

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from hanlin.base.errors import HanlinError
from hanlin.base.language import Text
from hanlin.generate.embedding import SentenceEncoder
from hanlin.generate.language_model import LanguageModel
from hanlin.serve.answers import answer
from hanlin.serve.batcher import Batcher
from hanlin.serve.config import ServeConfig
from hanlin.serve.door import Door, tokens_of
from hanlin.serve.embeddings import embedding_routes
from hanlin.serve.keeping import looked_after, open_store
from hanlin.serve.kept import kept_routes
from hanlin.serve.keys import KeyRing
from hanlin.serve.limits import BodyLimit, Envelope
from hanlin.serve.metrics import Metrics
from hanlin.serve.mode import ends_its_turns
from hanlin.serve.page import page_routes
from hanlin.serve.problems import (
    ApiProblem,
    from_hanlin,
    from_validation,
    no_model,
    prefers_chinese,
    stopping,
)
from hanlin.serve.prompts import Order, check_model, order_chat, order_completion
from hanlin.serve.rates import Rates
from hanlin.serve.replies import ChatCompletion, Completion, ErrorReply, Health, ModelCard, ModelList
from hanlin.serve.requests import ChatBody, CompletionBody, GenerationBody
from hanlin.serve.responses import ResponsesBody, respond
from hanlin.serve.tasks import TaskWorker, task_routes
from hanlin.tasks.model import TaskModel

BodyT = TypeVar("BodyT", bound=GenerationBody)


def create_app(
    model: LanguageModel | None,
    config: ServeConfig,
    tasks: Mapping[str, TaskModel] = MappingProxyType({}),
    encoder: SentenceEncoder | None = None,
) -> FastAPI:
    """The whole service around a language model, tasks, an encoder, or several; its threads start and end with it."""
    metrics = Metrics()
    batcher = None if model is None else _batcher(model, config, metrics)
    worker = TaskWorker(config, metrics)
    store = open_store(config)
    ring = KeyRing(config.keys, None if config.api_key is None else config.api_key.get_secret_value())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if batcher is not None:
            batcher.start()
        async with looked_after(store, config):
            yield
        worker.stop()
        if batcher is not None:
            await batcher.stop()

    app = FastAPI(title="Hanlin", docs_url=None, redoc_url=None, lifespan=lifespan)
    # The last layer added is the first that a request meets.
    app.add_middleware(BodyLimit, max_bytes=config.max_body_bytes, timeout=config.body_timeout)
    app.add_middleware(Door, hosts=config.hosts, ring=ring, rates=Rates())
    app.add_middleware(Envelope, metrics=metrics, access_log=config.access_log)
    _answer_errors(app)
    app.include_router(_model_routes(model, encoder))
    if model is not None and batcher is not None:
        app.include_router(_generation_routes(model, config, batcher))
        app.include_router(page_routes(page_settings(model, config)))
    else:
        app.include_router(_no_generation_routes())
    app.include_router(task_routes(tasks, config, worker))
    app.include_router(embedding_routes(encoder, config, worker))
    app.include_router(kept_routes(store))
    app.include_router(_operation_routes(model, tasks, batcher, worker, metrics))
    return app


def _batcher(model: LanguageModel, config: ServeConfig, metrics: Metrics) -> Batcher:
    # An engine of its own, over the same weights: `model.generate` elsewhere must not step these requests.
    return Batcher(model.engine.another(config.max_rows), config.max_queue, config.request_timeout, metrics)


def page_settings(model: LanguageModel, config: ServeConfig) -> dict[str, Any]:
    """What the chat page is told."""
    mode = config.mode if config.mode != "auto" else ("chat" if ends_its_turns(model) else "completion")
    return {
        "model": model.name,
        "window": model.window,
        "mode": mode,
        "can_chat": model.tokenizer.chat_template is not None,
        "needs_key": config.asks_for_keys,
        "keeps": config.store is not None,
        "temperature": model.defaults.temperature,
        "max_new_tokens": config.max_new_tokens,
    }


def _answer_errors(app: FastAPI) -> None:
    """Every error leaves in the OpenAI API's shape; what is not named here ends in `Envelope` as a 500."""

    async def problem(request: Request, error: Exception) -> Response:
        assert isinstance(error, ApiProblem)
        return error.response(chinese(request))

    async def mistake(request: Request, error: Exception) -> Response:
        assert isinstance(error, HanlinError)
        return from_hanlin(error, None).response(chinese(request))

    async def validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return from_validation(error.errors()).response(chinese(request))

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return _http_problem(request, error).response(chinese(request))

    app.add_exception_handler(ApiProblem, problem)
    app.add_exception_handler(HanlinError, mistake)
    app.add_exception_handler(RequestValidationError, validation)
    app.add_exception_handler(HTTPException, http)


def _http_problem(request: Request, error: HTTPException) -> ApiProblem:
    """Unknown addresses, methods that a route lacks, and bodies that no parser could read."""
    place = f"{request.method} {request.url.path[:100]}"
    texts = {
        404: Text(f"There is nothing at {place}.", f"没有 {place} 这个接口。"),
        405: Text(f"{place} is not allowed.", f"不支持 {place}。"),
        400: Text("The body cannot be read as JSON.", "无法将请求体读作 JSON。"),
    }
    text = texts.get(error.status_code, Text(str(error.detail), str(error.detail)))
    code = "unknown_url" if error.status_code == 404 else None
    return ApiProblem(error.status_code, text, code=code, headers=error.headers)


def chinese(request: Request) -> bool:
    """Whether the caller would rather read Chinese."""
    return prefers_chinese(request.headers.get("accept-language", ""))


def _errors(*statuses: int | str) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": ErrorReply} for status in statuses}


def _model_routes(model: LanguageModel | None, encoder: SentenceEncoder | None) -> APIRouter:
    router = APIRouter(prefix="/v1/models", responses=_errors("4XX"))
    made = int(time.time())
    cards = {}
    if model is not None:
        cards[model.name] = ModelCard(id=model.name, created=made, window=model.window)
    if encoder is not None:
        cards[encoder.name] = ModelCard(id=encoder.name, created=made, window=encoder.settings.max_tokens)

    @router.get("")
    async def models() -> ModelList:
        """The models that are served: one for text, one for vectors, or both."""
        return ModelList(data=list(cards.values()))

    @router.get("/{name:path}")
    async def one_model(name: str) -> ModelCard:
        """One model by name."""
        if name in cards:
            return cards[name]
        if model is None:
            raise no_model()
        check_model(name, model)
        return cards[name]

    return router


def _generation_routes(model: LanguageModel, config: ServeConfig, batcher: Batcher) -> APIRouter:
    router = APIRouter(prefix="/v1", responses=_errors("4XX", "5XX"))

    async def generate(
        body: BodyT, request: Request, order: Callable[[BodyT, LanguageModel, ServeConfig], Order]
    ) -> Response:
        check_model(body.model, model)
        ordered = await asyncio.to_thread(order, body, model, config)  # encoding a long prompt takes a while
        submission = batcher.submit(ordered.generations, request.state.request_id, tokens_of(request))
        headers = {"X-Hanlin-Dropped": str(ordered.dropped)} if body.truncation == "auto" else {}
        return await answer(body, submission, request, headers, chinese(request))

    @router.post("/completions", responses={200: {"model": Completion}})
    async def completions(body: CompletionBody, request: Request) -> Response:
        """Continue a text."""
        return await generate(body, request, order_completion)

    @router.post("/chat/completions", responses={200: {"model": ChatCompletion}})
    async def chat_completions(body: ChatBody, request: Request) -> Response:
        """Answer in a conversation."""
        return await generate(body, request, order_chat)

    @router.post("/responses")
    async def responses(body: ResponsesBody, request: Request) -> Response:
        """Answer in a conversation: the newer form."""
        chat = body.chat()
        check_model(chat.model, model)
        ordered = await asyncio.to_thread(order_chat, chat, model, config)
        submission = batcher.submit(ordered.generations, request.state.request_id, tokens_of(request))
        return await respond(body, submission, request, {}, chinese(request))

    return router


def _no_generation_routes() -> APIRouter:
    """Where only tasks are served, those who ask for text are told."""
    router = APIRouter(include_in_schema=False)

    async def refuse() -> None:
        raise no_model()

    for path in ("/v1/completions", "/v1/chat/completions", "/v1/responses"):
        router.add_api_route(path, refuse, methods=["POST"])
    return router


def _operation_routes(
    model: LanguageModel | None,
    tasks: Mapping[str, TaskModel],
    batcher: Batcher | None,
    worker: TaskWorker,
    metrics: Metrics,
) -> APIRouter:
    router = APIRouter()

    @router.get("/health", responses=_errors(503))
    async def health() -> Health:
        """Whether the engine works, if there is one."""
        if batcher is not None and not batcher.alive:
            raise stopping()
        running = worker.active + (0 if batcher is None else batcher.active)
        return Health(model=None if model is None else model.name, tasks=list(tasks), running=running)

    @router.get("/metrics", response_class=Response)
    async def read_metrics() -> Response:
        """Prometheus text format."""
        return Response(metrics.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return router
