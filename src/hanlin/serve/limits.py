"""What surrounds every request: its id, security headers, log line and metrics, and the limit of its body. Plain ASGI layers.

Order, outermost first: `Envelope` (id, headers, log, metrics, the last net for errors), `Door` (door.py: who may come
in), `BodyLimit` (how much they may bring).
"""

import asyncio
import logging
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hanlin.base.language import Text
from hanlin.serve.logs import note_admin
from hanlin.serve.metrics import Metrics
from hanlin.serve.problems import ApiProblem, prefers_chinese, unexpected

log = logging.getLogger("hanlin.serve")

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


async def answer_problem(problem: ApiProblem, scope: Scope, receive: Receive, send: Send) -> None:
    """Send `problem` in the caller's language."""
    chinese = prefers_chinese(Headers(scope=scope).get("accept-language", ""))
    await problem.response(chinese)(scope, receive, send)


class Envelope:
    """Gives each request an id, each answer its headers, and the log and the metrics their line."""

    def __init__(self, app: ASGIApp, metrics: Metrics, access_log: bool) -> None:
        self._app = app
        self._metrics = metrics
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        request_id = f"req_{uuid.uuid4().hex}"
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                headers.setdefault("Cache-Control", "no-store")
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception:
            log.exception("request %s failed", request_id)
            if status:
                raise  # too late for another answer: the connection is cut
            await answer_problem(unexpected(request_id), scope, receive, send_with_headers)
        finally:
            self._book(scope, status, time.perf_counter() - began, request_id)

    def _book(self, scope: Scope, status: int, seconds: float, request_id: str) -> None:
        # Only the paths of routes become labels; strangers' paths would grow the metrics without end.
        route = getattr(scope.get("route"), "path", "other")
        self._metrics.requests.labels(route, str(status)).inc()
        self._metrics.request_seconds.labels(route).observe(seconds)
        state, method = scope["state"], scope["method"]
        path = scope["path"][:200].encode("unicode_escape").decode()
        user = getattr(state.get("key"), "name", "local")
        if path.startswith("/admin/") and state.get("admitted"):
            note_admin(user, method, path, status, request_id)
        if self._access_log:
            submission = state.get("submission")
            facts = {
                "request_id": request_id,
                "route": route,
                "status": status,
                "ms": round(seconds * 1000, 1),
                "key": user,
                "prompt_tokens": getattr(submission, "prompt_tokens", None),
                "new_tokens": getattr(submission, "new_tokens", None),
            }
            milliseconds = seconds * 1000
            line = "%s %s %d %.0f ms %s"
            log.info(line, method, path, status, milliseconds, request_id, extra={"facts": facts})


class BodyLimit:
    """Reads the whole body, up to a size and within a time, before the application sees the request."""

    def __init__(self, app: ASGIApp, max_bytes: int, timeout: float) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._timeout = timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its body at hand, or answer 413 or 408."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._timeout):
                body = await self._read(scope, receive)
        except TimeoutError:
            await answer_problem(self._too_slow(), scope, receive, send)
            return
        except ApiProblem as problem:
            await answer_problem(problem, scope, receive, send)
            return
        if body is None:
            return
        given = False

        async def receive_again() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, receive_again, send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        """The body; None if the client left while sending it."""
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdigit() and int(announced) > self._max_bytes:
            raise self._too_large()
        chunks, size, more = [], 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            more = message.get("more_body", False)
            if size > self._max_bytes:
                raise self._too_large()
        return b"".join(chunks)

    def _too_large(self) -> ApiProblem:
        return ApiProblem(
            413,
            Text(
                f"The body is larger than {self._max_bytes} bytes, the most that this server reads.",
                f"请求体超过 {self._max_bytes} 字节，即本服务器读取的上限。",
            ),
            code="request_too_large",
            headers={"Connection": "close"},
        )

    def _too_slow(self) -> ApiProblem:
        return ApiProblem(
            408,
            Text(
                f"The body did not arrive within {self._timeout:g} s.",
                f"请求体未能在 {self._timeout:g} 秒内送达。",
            ),
            code="request_timeout",
            headers={"Connection": "close"},
        )
