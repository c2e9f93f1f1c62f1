"""Routes for whoever runs the server: is it alive, is it ready, what does it count, take a new version."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import Field
from starlette.responses import Response

from hanlin.base.language import Text
from hanlin.serve.body import Body
from hanlin.serve.metrics import Metrics
from hanlin.serve.problems import ApiProblem, no_model, stopping
from hanlin.serve.replies import ErrorReply, Health
from hanlin.serve.tasks import TaskWorker
from hanlin.serve.versions import Versions
from hanlin.tasks.model import TaskModel


class ReloadBody(Body):
    """Body of POST /admin/reload."""

    model: Annotated[str, Field(min_length=1)] | None = None
    """The folder of the new version; default: the folder that was named at the start, read again."""


def operation_routes(
    versions: Versions | None,
    tasks: Mapping[str, TaskModel],
    worker: TaskWorker,
    metrics: Metrics,
    metrics_apart: bool,
    several: bool,
) -> APIRouter:
    """metrics_apart: another port tells the metrics. several: this is one of several processes."""
    router = APIRouter(responses={"4XX": {"model": ErrorReply}, 503: {"model": ErrorReply}})

    def health() -> Health:
        if versions is not None and not versions.alive:
            raise stopping()
        running = worker.active + (0 if versions is None else versions.running)
        return Health(
            model=None if versions is None else versions.model.name, tasks=list(tasks), running=running
        )

    @router.get("/health")
    @router.get("/health/ready")
    async def ready() -> Health:
        """Whether requests are answered: the engine works, and the server does not stop."""
        return health()

    @router.get("/health/live")
    async def live() -> dict[str, str]:
        """Whether the process answers at all."""
        return {"status": "ok"}

    @router.post("/admin/reload")
    async def reload(body: ReloadBody) -> Health:
        """Serve a new version; what runs ends on the old one. 409: it could not be loaded, and the old one goes on."""
        if versions is None:
            raise no_model()
        if several:
            raise _only_one_process()
        await versions.reload(None if body.model is None else Path(body.model))
        return health()

    if not metrics_apart:

        @router.get("/metrics", response_class=Response)
        async def read_metrics() -> Response:
            """Prometheus text format."""
            return Response(metrics.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return router


def _only_one_process() -> ApiProblem:
    return ApiProblem(
        409,
        Text(
            "This reaches one of several processes only. Send SIGHUP to the main process instead.",
            "此请求只能到达多个进程中的一个。请改为向主进程发送 SIGHUP。",
        ),
        code="not_reloaded",
    )
