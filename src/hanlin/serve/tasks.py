"""What fine-tuned models do, a route each: `POST /v1/tasks/{name}`, and `GET /v1/tasks` for what there is."""

import asyncio
import math
import time
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import UnionType
from typing import Any, get_args, get_origin

from fastapi import APIRouter
from pydantic import ConfigDict, Field, create_model

from hanlin.base.errors import HanlinError
from hanlin.base.language import Text
from hanlin.serve.body import Body
from hanlin.serve.config import ServeConfig
from hanlin.serve.metrics import Metrics
from hanlin.serve.problems import ApiProblem, from_hanlin, overloaded, stopping, timed_out
from hanlin.serve.replies import ErrorReply, Reply, TaskCard, TaskList
from hanlin.tasks.model import USES, TaskModel


class TaskWorker:
    """Runs the passes of all tasks, one at a time, off the event loop; more than `max_queue` that wait are refused."""

    def __init__(self, config: ServeConfig, metrics: Metrics) -> None:
        self._most, self._timeout = 1 + config.max_queue, config.request_timeout
        self._metrics = metrics
        self._thread = ThreadPoolExecutor(1, "hanlin-tasks")
        self._active = 0
        self._mean_seconds = 1.0
        self._open = True

    @property
    def active(self) -> int:
        """Requests that run or wait."""
        return self._active

    def stop(self) -> None:
        """Refuse what comes; what waits is dropped, and the pass that runs may end."""
        self._open = False
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def run(self, name: str, work: Callable[[], list[Any]], inputs: int) -> list[Any]:
        """What `work` returns. Raises `ApiProblem`: 429 when too many wait, 504 when the time is up, 503 when stopping."""
        if not self._open:
            raise stopping()
        if self._active >= self._most:
            raise overloaded(max(1, min(60, math.ceil(self._mean_seconds * self._active))))
        self._active += 1
        began = time.perf_counter()
        future = self._thread.submit(work)
        future.add_done_callback(self._ended(asyncio.get_running_loop(), began))
        try:
            async with asyncio.timeout(self._timeout):
                said = await asyncio.wrap_future(future)
        except TimeoutError:
            raise timed_out(self._timeout) from None
        except asyncio.CancelledError:
            if not self._open:
                raise stopping() from None
            raise
        self._metrics.task_inputs.labels(name).inc(inputs)
        self._metrics.task_seconds.labels(name).observe(time.perf_counter() - began)
        return said

    def _ended(self, loop: asyncio.AbstractEventLoop, began: float) -> Callable[[Any], None]:
        """A place is free when the pass has ended, and not when its client has gone: a pass cannot be stopped."""

        def book() -> None:
            self._active -= 1
            self._mean_seconds += 0.1 * (time.perf_counter() - began - self._mean_seconds)

        def ended(_: Any) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(book)

        return ended


def task_routes(tasks: Mapping[str, TaskModel], config: ServeConfig, worker: TaskWorker) -> APIRouter:
    """The routes of tasks, by the names that they are to have."""
    errors: dict[int | str, dict[str, Any]] = {code: {"model": ErrorReply} for code in ("4XX", "5XX")}
    router = APIRouter(prefix="/v1/tasks", responses=errors, tags=["tasks"])
    schemas = {name: (body_of(name, task, config), reply_of(name, task)) for name, task in tasks.items()}
    cards = [_card(name, task, *schemas[name]) for name, task in tasks.items()]

    @router.get("")
    async def all_tasks() -> TaskList:
        """The tasks that are served, with the schema of each."""
        return TaskList(data=cards)

    for name, task in tasks.items():
        body, reply = schemas[name]
        router.add_api_route(
            f"/{name}",
            _route(name, task, body, reply, worker),
            methods=["POST"],
            response_model=reply,
            name=f"task {name}",
            operation_id=f"task_{name}",
            description=f"{task.kind}: what {task.name} says of each input, in their order.",
        )

    @router.api_route("/{name}", methods=["POST"], include_in_schema=False)
    async def no_such_task(name: str) -> None:
        raise _unknown(name, tasks)

    return router


def body_of(name: str, task: TaskModel, config: ServeConfig) -> type[Body]:
    """The schema of what is asked: `inputs`, whose fields are those of the task's record without its answers."""
    use, known = USES[task.kind], task.task.record.model_fields
    fields: dict[str, Any] = {name: (_without_none(known[name].annotation), ...) for name in use.needed}
    fields |= {name: (known[name].annotation, known[name]) for name in use.further}
    # Not strict, as other bodies are: JSON has no tuples, which records are made of.
    given = create_model(f"Input_{name}", __config__=ConfigDict(extra="forbid", frozen=True), **fields)
    inputs = (list[given], Field(min_length=1, max_length=config.max_inputs))
    return create_model(f"Body_{name}", __base__=Body, inputs=inputs)


def reply_of(name: str, task: TaskModel) -> type[Reply]:
    """The schema of what is answered: a prediction for each input."""
    said = list[task.task.prediction]  # type: ignore[name-defined]
    return create_model(
        f"Reply_{name}", __base__=Reply, task=(str, name), kind=(str, task.kind), predictions=(said, ...)
    )


def _without_none(annotation: Any) -> Any:
    """The type of a field that must be given."""
    kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
    return kinds[0] if get_origin(annotation) is UnionType and len(kinds) == 1 else annotation


def _route(
    name: str, task: TaskModel, body_type: type[Body], reply: type[Reply], worker: TaskWorker
) -> Callable[[Any], Coroutine[Any, Any, Reply]]:
    async def do(body: Any) -> Reply:
        records = [one.model_dump() for one in body.inputs]

        def work() -> list[Any]:
            return task.predict(records)

        try:
            said = await worker.run(name, work, len(records))
        except HanlinError as error:
            raise from_hanlin(error, "inputs", "invalid_value") from error
        return reply.model_validate({"predictions": said})

    do.__annotations__ = {"body": body_type, "return": reply}
    return do


def _card(name: str, task: TaskModel, body: type[Body], reply: type[Reply]) -> TaskCard:
    return TaskCard(
        id=name,
        kind=task.kind,
        model=task.name,
        labels=tuple(getattr(task.task, "labels", ())),
        method=task.task.method,
        url=f"/v1/tasks/{name}",
        inputs=body.model_json_schema(),
        outputs=reply.model_json_schema(),
    )


def _unknown(name: str, tasks: Mapping[str, TaskModel]) -> ApiProblem:
    there = ", ".join(tasks) or "-"
    return ApiProblem(
        404,
        Text(
            f"There is no task '{name[:100]}' here; there are: {there}.",
            f"这里没有任务“{name[:100]}”；现有：{there}。",
        ),
        code="task_not_found",
    )
