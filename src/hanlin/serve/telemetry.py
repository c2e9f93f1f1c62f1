"""A span of OpenTelemetry for each request, where it is asked for. The exporter is set up by the usual OTEL_ variables."""

from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hanlin.base.errors import MissingExtra
from hanlin.base.language import Text


class Spans:
    """The outermost layer: one span a request, with its route, status, id and tokens; never its text."""

    def __init__(self, app: ASGIApp, tracer: Any) -> None:
        self._app = app
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request inside its span."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with self._tracer.start_as_current_span(scope["method"]) as span:

            async def send_and_note(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                await send(message)

            try:
                await self._app(scope, receive, send_and_note)
            finally:
                route = getattr(scope.get("route"), "path", "other")
                span.update_name(f"{scope['method']} {route}")
                span.set_attribute("http.request.method", scope["method"])
                span.set_attribute("http.route", route)
                state = scope.get("state", {})
                span.set_attribute("hanlin.request_id", state.get("request_id", ""))
                if (submission := state.get("submission")) is not None:
                    span.set_attribute("gen_ai.usage.input_tokens", submission.prompt_tokens)
                    span.set_attribute("gen_ai.usage.output_tokens", submission.new_tokens)


def open_tracer() -> Any:
    """What makes spans and sends them over OTLP/HTTP. Raises `MissingExtra` where it is not installed."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        raise MissingExtra(Text("Sending spans", "发送追踪数据"), "telemetry") from error
    provider = TracerProvider(resource=Resource.create({"service.name": "hanlin"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider.get_tracer("hanlin.serve")
