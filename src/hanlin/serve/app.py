"""The application: which route does what. Everything a route needs is passed in; nothing is global."""

import asyncio
import logging
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from types import MappingProxyType
from typing import Any, TypeVar

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from prometheus_client import start_http_server
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from hanlin.base.errors import HanlinError
from hanlin.base.language import Text
from hanlin.generate.embedding import SentenceEncoder
from hanlin.generate.language_model import LanguageModel
from hanlin.serve.answers import answer
from hanlin.serve.batcher import Submission
from hanlin.serve.config import ServeConfig
from hanlin.serve.door import Door, tokens_of
from hanlin.serve.embeddings import embedding_routes
from hanlin.serve.keeping import looked_after, open_store
from hanlin.serve.kept import kept_routes
from hanlin.serve.keys import KeyRing
from hanlin.serve.limits import BodyLimit, Envelope
from hanlin.serve.metrics import Metrics
from hanlin.serve.mode import ends_its_turns
from hanlin.serve.operations import operation_routes
from hanlin.serve.page import page_routes
from hanlin.serve.problems import (
    ApiProblem,
    from_hanlin,
    from_validation,
    no_model,
    prefers_chinese,
)
from hanlin.serve.prompts import Order, check_model, order_chat, order_completion, served_names
from hanlin.serve.rates import Rates
from hanlin.serve.replies import ChatCompletion, Completion, ErrorReply, ModelCard, ModelList
from hanlin.serve.requests import ChatBody, CompletionBody, GenerationBody
from hanlin.serve.responses import ResponsesBody, respond
from hanlin.serve.server import cannot_listen
from hanlin.serve.tasks import TaskWorker, task_routes
from hanlin.serve.telemetry import Spans, open_tracer
from hanlin.serve.versions import Source, Versions
from hanlin.tasks.model import TaskModel

log = logging.getLogger("hanlin.serve")

BodyT = TypeVar("BodyT", bound=GenerationBody)


def create_app(
    model: LanguageModel | None,
    config: ServeConfig,
    tasks: Mapping[str, TaskModel] = MappingProxyType({}),
    encoder: SentenceEncoder | None = None,
    source: Source | None = None,
    worker_index: int = 0,
) -> FastAPI:
    """The whole service around a language model, tasks, an encoder, or several; its threads start and end with it.

    source: of new versions of the model. worker_index: which of several processes this is.
    """
    metrics = Metrics()
    versions = None if model is None else Versions(model, config, metrics, source)
    worker = TaskWorker(config, metrics)
    store = open_store(config)
    ring = KeyRing(config.keys, None if config.api_key is None else config.api_key.get_secret_value())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if versions is not None:
            versions.start()
        with _metrics_apart(metrics, config, worker_index), _reload_on_signal(versions):
            async with looked_after(store, config):
                yield
        worker.stop()
        if versions is not None:
            await versions.stop()

    app = FastAPI(title="Hanlin", docs_url=None, redoc_url=None, lifespan=lifespan)
    # The last layer added is the first that a request meets.
    app.add_middleware(BodyLimit, max_bytes=config.max_body_bytes, timeout=config.body_timeout)
    app.add_middleware(Door, hosts=config.hosts, ring=ring, rates=Rates())
    app.add_middleware(Envelope, metrics=metrics, access_log=config.access_log)
    if config.telemetry:
        app.add_middleware(Spans, tracer=open_tracer())
    _answer_errors(app)
    app.include_router(_model_routes(versions, encoder))
    if model is not None and versions is not None:
        app.include_router(_generation_routes(versions, config))
        app.include_router(page_routes(page_settings(model, config)))
    else:
        app.include_router(_no_generation_routes())
    app.include_router(task_routes(tasks, config, worker))
    app.include_router(embedding_routes(encoder, config, worker))
    app.include_router(kept_routes(store))
    apart, several = config.metrics_port is not None, config.workers > 1
    app.include_router(operation_routes(versions, tasks, worker, metrics, apart, several))
    return app


@contextmanager
def _metrics_apart(metrics: Metrics, config: ServeConfig, index: int) -> Iterator[None]:
    """Another port of this machine that tells the metrics, where one is wished."""
    if config.metrics_port is None:
        yield
        return
    port = config.metrics_port and config.metrics_port + index
    try:
        server, thread = start_http_server(port, "127.0.0.1", metrics.registry)
    except OSError as error:
        raise cannot_listen("127.0.0.1", port, "metrics_port", error) from error
    log.info("metrics: http://127.0.0.1:%d/metrics", server.server_port)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def _reload_on_signal(versions: Versions | None) -> Iterator[None]:
    """SIGHUP loads the model's folder again, where this is the main thread of a process."""
    main = threading.current_thread() is threading.main_thread()
    if versions is None or not main or not hasattr(signal, "SIGHUP"):
        yield
        return
    tasks = set[asyncio.Task[None]]()

    async def reload() -> None:
        with suppress(ApiProblem):  # the log has told why, and the old version goes on
            await versions.reload(None)

    def begin() -> None:
        task = asyncio.create_task(reload())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, begin)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


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


def _model_routes(versions: Versions | None, encoder: SentenceEncoder | None) -> APIRouter:
    router = APIRouter(prefix="/v1/models", responses=_errors("4XX"))
    made = int(time.time())

    def cards() -> dict[str, ModelCard]:
        made_of = (
            {} if versions is None else dict.fromkeys(served_names(versions.model), versions.model.window)
        )
        if encoder is not None:
            made_of[encoder.name] = encoder.settings.max_tokens
        return {name: ModelCard(id=name, created=made, window=window) for name, window in made_of.items()}

    @router.get("")
    async def models() -> ModelList:
        """The models that are served: one for text with its adapters, one for vectors, or both."""
        return ModelList(data=list(cards().values()))

    @router.get("/{name:path}")
    async def one_model(name: str) -> ModelCard:
        """One model by name."""
        known = cards()
        if name not in known:
            if versions is None:
                raise no_model()
            check_model(name, versions.model)
        return known[name]

    return router


_EVENTS: dict[str, Any] = {"content": {"text/event-stream": {}}}
"""What those who ask for a stream get."""


def _generation_routes(versions: Versions, config: ServeConfig) -> APIRouter:
    router = APIRouter(prefix="/v1", responses=_errors("4XX", "5XX"))

    async def submit(
        body: BodyT, request: Request, order: Callable[[BodyT, LanguageModel, ServeConfig], Order]
    ) -> tuple[Submission, Order]:
        request_id = request.state.request_id
        if config.log_prompts:
            asked = body.model_dump(exclude_unset=True)
            log.info(
                "%s asks %s", request_id, asked, extra={"facts": {"request_id": request_id, "body": asked}}
            )
        with versions.use() as version:
            adapter = check_model(body.model, version.model)
            # Encoding a long prompt takes a while.
            ordered = await asyncio.to_thread(order, body, version.model, config)
            submission = version.batcher.submit(ordered.generations, request_id, tokens_of(request), adapter)
        request.state.submission = submission
        return submission, ordered

    async def generate(
        body: BodyT, request: Request, order: Callable[[BodyT, LanguageModel, ServeConfig], Order]
    ) -> Response:
        submission, ordered = await submit(body, request, order)
        headers = {"X-Hanlin-Dropped": str(ordered.dropped)} if body.truncation == "auto" else {}
        return await answer(body, submission, request, headers, chinese(request))

    @router.post("/completions", responses={200: {"model": Completion, **_EVENTS}})
    async def completions(body: CompletionBody, request: Request) -> Response:
        """Continue a text."""
        return await generate(body, request, order_completion)

    @router.post("/chat/completions", responses={200: {"model": ChatCompletion, **_EVENTS}})
    async def chat_completions(body: ChatBody, request: Request) -> Response:
        """Answer in a conversation."""
        return await generate(body, request, order_chat)

    @router.post("/responses", responses={200: _EVENTS})
    async def responses(body: ResponsesBody, request: Request) -> Response:
        """Answer in a conversation: the newer form."""
        submission, _ = await submit(body.chat(), request, order_chat)
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
