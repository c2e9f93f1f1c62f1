"""What goes wrong over HTTP, in the OpenAI API's error shape and in the caller's language."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import ErrorDetails
from starlette.responses import JSONResponse

from hanlin.base.errors import HanlinError
from hanlin.base.language import Text


class ApiProblem(Exception):
    """An answer other than 2xx: `{"error": {"message", "type", "param", "code"}}` with an HTTP status."""

    def __init__(
        self,
        status: int,
        text: Text,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(text.en)
        self.status = status
        self.text = text
        self.kind = kind
        self.param = param
        self.code = code
        self.headers = dict(headers or {})

    def body(self, chinese: bool) -> dict[str, Any]:
        """The JSON body, its message in Chinese or English."""
        message = self.text.zh if chinese else self.text.en
        return {"error": {"message": message, "type": self.kind, "param": self.param, "code": self.code}}

    def response(self, chinese: bool) -> JSONResponse:
        """The whole HTTP answer."""
        return JSONResponse(self.body(chinese), self.status, headers=self.headers)


def prefers_chinese(accept_language: str) -> bool:
    """Whether an Accept-Language header ranks some Chinese above English (RFC 9110, section 12.5.4)."""
    best = {"zh": 0.0, "en": 0.0}
    for item in accept_language.split(","):
        tag, _, weight = item.partition(";")
        language = tag.strip().lower().partition("-")[0]
        if language in best:
            best[language] = max(best[language], _quality(weight))
    return best["zh"] > best["en"]


def _quality(weight: str) -> float:
    try:
        return float(weight.strip().removeprefix("q=")) if weight else 1.0
    except ValueError:
        return 0.0


def from_hanlin(error: HanlinError, param: str | None, code: str | None = None) -> ApiProblem:
    """A mistake that another room found in the request."""
    text = Text(f"{error.problem.en} {error.remedy.en}", f"{error.problem.zh}{error.remedy.zh}")
    return ApiProblem(400, text, param=param, code=code)


def overloaded(seconds: int) -> ApiProblem:
    """The queue is full; come back in about `seconds`."""
    return ApiProblem(
        429,
        Text(
            f"The server is busy and its queue is full. Try again in {seconds} s.",
            f"服务器繁忙，队列已满。请在 {seconds} 秒后重试。",
        ),
        kind="rate_limit_error",
        code="rate_limit_exceeded",
        headers={"Retry-After": str(seconds)},
    )


def timed_out(seconds: float) -> ApiProblem:
    """The generation took longer than a request may take."""
    return ApiProblem(
        504,
        Text(
            f"The request took longer than {seconds:g} s and was stopped. Ask for fewer tokens.",
            f"请求超过 {seconds:g} 秒，已被停止。请减少要生成的词元数。",
        ),
        kind="server_error",
        code="timeout",
    )


def stopping() -> ApiProblem:
    """The server is going down."""
    return ApiProblem(
        503,
        Text("The server is shutting down.", "服务器正在关闭。"),
        kind="server_error",
        code="shutting_down",
        headers={"Retry-After": "5"},
    )


def no_model() -> ApiProblem:
    """Text is asked for where only tasks are served."""
    return ApiProblem(
        404,
        Text(
            "This server has no language model, only tasks: GET /v1/tasks lists them.",
            "本服务器没有语言模型，只提供任务：GET /v1/tasks 可列出它们。",
        ),
        param="model",
        code="model_not_found",
    )


def unexpected(request_id: str) -> ApiProblem:
    """Our own mistake; the server's log has the traceback under `request_id`."""
    return ApiProblem(
        500,
        Text(
            f"The server had an error. Its log has the details under request {request_id}.",
            f"服务器内部出错。详情见服务器日志中的请求 {request_id}。",
        ),
        kind="server_error",
        code="internal_error",
    )


def from_validation(errors: Sequence[ErrorDetails] | Sequence[dict[str, Any]]) -> ApiProblem:
    """The first mistake that Pydantic found in a request body."""
    error = errors[0]
    location = [part for part in error["loc"] if part not in ("body", "query", "path")]
    if error["type"] == "json_invalid":
        reason = error.get("ctx", {}).get("error", "")
        place = location[0] if location else 0
        return ApiProblem(
            400,
            Text(
                f"The body is not valid JSON: {reason} at character {place}.",
                f"请求体不是有效的 JSON：第 {place} 个字符处：{reason}。",
            ),
            code="invalid_json",
        )
    if not location:
        return ApiProblem(
            400,
            Text(
                "The body must be a JSON object sent with `Content-Type: application/json`.",
                "请求体必须是 JSON 对象，并带有 `Content-Type: application/json`。",
            ),
        )
    param = _param(location)
    text = _describe(error["type"], error.get("ctx") or {}, error["msg"])
    return ApiProblem(
        400, Text(f"'{param}' {text.en}.", f"“{param}”{text.zh}。"), param=param, code=_code(error["type"])
    )


def _param(location: Sequence[int | str]) -> str:
    """`messages[0].content`, as the OpenAI API writes it; lone surrogates cannot be sent back."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    return path[:100].encode(errors="replace").decode()


def _code(kind: str) -> str:
    """The OpenAI API's code for a kind of Pydantic error."""
    if kind == "missing":
        return "missing_required_parameter"
    if kind == "extra_forbidden":
        return "unknown_parameter"
    if kind in ("unsupported_parameter", "unsupported_content", "invalid_prompt"):
        return kind
    return "invalid_type" if kind.endswith("_type") else "invalid_value"


def _describe(kind: str, context: Mapping[str, Any], message: str) -> Text:
    """What is wrong with a value, to follow its name."""
    phrases = {
        "missing": Text("is required", "必须给出"),
        "extra_forbidden": Text("is not a parameter of this route", "不是该接口的参数"),
        "unsupported_parameter": Text(
            "is not supported by this server; leave it out", "不受本服务器支持，请去掉"
        ),
        "int_type": Text("must be an integer", "必须是整数"),
        "float_type": Text("must be a number", "必须是数"),
        "bool_type": Text("must be true or false", "必须是 true 或 false"),
        "string_type": Text("must be a string", "必须是字符串"),
        "string_unicode": Text(
            "must be valid Unicode without lone surrogates", "必须是有效的 Unicode，不能有孤立代理项"
        ),
        "list_type": Text("must be a list", "必须是列表"),
        "finite_number": Text("must be a finite number", "必须是有限的数"),
        "too_short": Text("must not be empty", "不能为空"),
    }
    limits = {
        "greater_than_equal": ("at least", "不能小于", "ge"),
        "greater_than": ("greater than", "必须大于", "gt"),
        "less_than_equal": ("at most", "不能大于", "le"),
        "less_than": ("less than", "必须小于", "lt"),
    }
    if kind in phrases:
        return phrases[kind]
    if kind in limits:
        word_en, word_zh, key = limits[kind]
        return Text(f"must be {word_en} {context[key]}", f"{word_zh} {context[key]}")
    if kind == "too_long" and "max_length" in context:
        return Text(f"may hold at most {context['max_length']}", f"最多 {context['max_length']} 项")
    if kind == "literal_error":
        return Text(f"must be {context['expected']}", f"必须是 {context['expected']}")
    if "zh" in context:
        return Text(message, str(context["zh"]))
    return Text(f"is wrong: {message}", f"有误：{message}")
