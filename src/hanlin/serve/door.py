"""Who may come in: the Host header, the API key, its scope and its limits."""

import ipaddress
import math

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hanlin.base.language import Text
from hanlin.serve.keys import Key, KeyRing
from hanlin.serve.keys import Scope as KeyScope
from hanlin.serve.limits import answer_problem
from hanlin.serve.logs import note_refusal
from hanlin.serve.problems import ApiProblem
from hanlin.serve.rates import Allowance, Bucket, Rates


class Door:
    """Checks the Host header (against DNS rebinding), the API key and its scope, and how many requests it has left.

    What a request may do afterwards stands in its state: `key` (None where the server asks for none) and `allowance`; `admitted`
    tells that it came in.
    """

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...], ring: KeyRing, rates: Rates) -> None:
        self._app = app
        self._hosts = hosts
        self._ring = ring
        self._rates = rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through or answer why not."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            self._check_host(headers)
            allowance = self._check_key(scope, headers)
        except ApiProblem as problem:
            if problem.status in (401, 403):
                client = (scope.get("client") or ("-",))[0]
                path = scope["path"][:200].encode("unicode_escape").decode()
                note_refusal(
                    problem.code, problem.status, path, client, scope["state"].get("request_id", "-")
                )
            await answer_problem(problem, scope, receive, send)
            return

        async def send_with_limits(message: Message) -> None:
            if message["type"] == "http.response.start" and allowance is not None:
                MutableHeaders(scope=message).update(allowance.headers())
            await send(message)

        await self._app(scope, receive, send_with_limits)

    def _check_host(self, headers: Headers) -> None:
        host = headers.get("host", "")
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        if self._hosts and name.lower() not in self._hosts:
            raise ApiProblem(
                403,
                Text(
                    f"This server does not answer to the host name '{name[:100]}'. Add it to allowed_hosts.",
                    f"本服务器不接受主机名“{name[:100]}”。请将其加入 allowed_hosts。",
                ),
                code="host_not_allowed",
            )

    def _check_key(self, scope: Scope, headers: Headers) -> Allowance | None:
        needed = scope_of(scope["path"])
        if self._ring.is_open and needed == "admin" and not _from_here(scope):
            raise _only_from_here()
        if self._ring.is_open or needed is None:
            scope["state"]["admitted"] = True
            return None
        key = self._ring.find(_bearer(headers))
        if key is None:
            raise _wrong_key()
        if needed not in key.scopes:
            raise _out_of_scope(key, needed)
        allowance = self._rates.of(key)
        for bucket, amount, what in ((allowance.requests, 1, "requests"), (allowance.tokens, 1, "tokens")):
            if bucket is not None and (wait := bucket.wait(amount)) > 0:
                raise _too_many(what, int(bucket.per_minute), wait, allowance)
        if allowance.requests is not None:
            allowance.requests.take(1)
        scope["state"].update(key=key, allowance=allowance, admitted=True)
        return allowance


def scope_of(path: str) -> KeyScope | None:
    """What a key must be allowed for an address; None: nothing, as for the page and for health."""
    if path.startswith(("/v1/conversations", "/v1/feedback", "/v1/me")):
        return "feedback"
    if path.startswith("/admin/"):
        return "admin"
    if path == "/metrics":
        return "metrics"
    return "generate" if path.startswith("/v1/") else None


def user_of(request: Request) -> str:
    """Whose request it is: the name of its key, "local" where no key is asked for."""
    key: Key | None = getattr(request.state, "key", None)
    return "local" if key is None else key.name


def tokens_of(request: Request) -> Bucket | None:
    """What is left of the tokens of its key; None: without limit."""
    allowance: Allowance | None = getattr(request.state, "allowance", None)
    return None if allowance is None else allowance.tokens


def _from_here(scope: Scope) -> bool:
    """Whether the caller is on this machine."""
    client = scope.get("client")
    try:
        return client is not None and ipaddress.ip_address(client[0]).is_loopback
    except ValueError:
        return False


def _only_from_here() -> ApiProblem:
    return ApiProblem(
        403,
        Text(
            "Without keys this address answers to the machine itself only. Start the server with keys=...",
            "未设置密钥时，此接口只接受本机请求。请以 keys=... 启动服务器。",
        ),
        code="insufficient_scope",
    )


def _bearer(headers: Headers) -> str:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        text = Text(
            "This server needs an API key. Send it as `Authorization: Bearer KEY`.",
            "本服务器需要 API 密钥。请以 `Authorization: Bearer KEY` 发送。",
        )
        raise ApiProblem(401, text, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})
    return key.strip().encode("latin-1").decode("utf-8", "surrogateescape")


def _wrong_key() -> ApiProblem:
    return ApiProblem(
        401,
        Text("The API key is incorrect.", "API 密钥不正确。"),
        code="invalid_api_key",
        headers={"WWW-Authenticate": "Bearer"},
    )


def _out_of_scope(key: Key, needed: KeyScope) -> ApiProblem:
    return ApiProblem(
        403,
        Text(
            f"This key may do: {', '.join(key.scopes)}. This address needs: {needed}.",
            f"该密钥的权限为：{'、'.join(key.scopes)}。此接口需要：{needed}。",
        ),
        code="insufficient_scope",
    )


def _too_many(what: str, limit: int, seconds: float, allowance: Allowance) -> ApiProblem:
    wait = max(1, math.ceil(seconds))
    what_zh = {"requests": "请求", "tokens": "词元"}[what]
    return ApiProblem(
        429,
        Text(
            f"This key may use {limit} {what} a minute, and they are used up. Try again in {wait} s.",
            f"该密钥每分钟最多使用 {limit} 个{what_zh}，现已用完。请在 {wait} 秒后重试。",
        ),
        kind="rate_limit_error",
        code="rate_limit_exceeded",
        headers={"Retry-After": str(wait), **allowance.headers()},
    )
