"""Listening: the socket is bound before a model is loaded, so that a taken port is told at once."""

import contextlib
import math
import socket
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from hanlin.base.errors import ConfigError, MissingExtra
from hanlin.base.language import Text
from hanlin.base.progress import console
from hanlin.generate.language_model import LanguageModel
from hanlin.serve.config import ServeConfig
from hanlin.serve.logs import log_to_console

if TYPE_CHECKING:
    import uvicorn

    from hanlin.generate.embedding import SentenceEncoder
    from hanlin.serve.versions import Source
    from hanlin.tasks.model import TaskModel


SWITCH = 2e-4
"""Seconds after which the event loop lets the engine's thread go on (Python's own 5 ms are longer than a token takes)."""


def open_listener(config: ServeConfig) -> socket.socket:
    """Bind host and port of `config`, without accepting yet.

    Raises `ConfigError` when the port is taken or reserved, or the address is not this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise cannot_listen(config.host, config.port, "port", error) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise cannot_listen(config.host, config.port, "port", error) from error
    return listener


def build_server(
    model: LanguageModel | None,
    config: ServeConfig,
    tasks: Mapping[str, "TaskModel"] = MappingProxyType({}),
    encoder: "SentenceEncoder | None" = None,
    source: "Source | None" = None,
    worker_index: int = 0,
) -> "uvicorn.Server":
    """A uvicorn server around `model`, `tasks`, `encoder` or several, to be run on sockets that are already bound.

    source: of new versions of the model; None: it cannot be reloaded. worker_index: which of several processes this is.
    Raises `MissingExtra` when the serving packages are not installed.
    """
    try:
        import uvicorn

        from hanlin.serve.app import create_app
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("hanlin"):
            raise
        raise MissingExtra(Text("Serving a model", "提供模型服务"), "serve") from error
    settings = uvicorn.Config(
        create_app(model, config, tasks, encoder, source, worker_index),
        log_config=None,
        access_log=False,  # `Envelope` writes that line, with the request id
        server_header=False,
        timeout_graceful_shutdown=math.ceil(config.shutdown_timeout),
        ws="none",
    )
    return uvicorn.Server(settings)


def serve(
    model: LanguageModel | None,
    config: ServeConfig,
    listener: socket.socket | None = None,
    tasks: Mapping[str, "TaskModel"] = MappingProxyType({}),
    encoder: "SentenceEncoder | None" = None,
    source: "Source | None" = None,
    worker_index: int = 0,
) -> None:
    """Serve `model`, `tasks` by their names, `encoder`, or several until Ctrl-C or SIGTERM; running requests may then still end (`shutdown_timeout`).

    `listener` is what `open_listener` gave; without it the socket is opened here. Raises `ConfigError`
    when the port is taken, `MissingExtra` when the serving packages are not installed.
    """
    with contextlib.closing(listener or open_listener(config)) as bound:
        server = build_server(model, config, tasks, encoder, source, worker_index)
        try:
            bound.listen(2048)
        except OSError as error:
            raise cannot_listen(config.host, config.port, "port", error) from error
        sys.setswitchinterval(SWITCH)
        log_to_console(config)
        if worker_index == 0:
            _announce(model, tasks, encoder, config, bound)
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises Ctrl-C again once all has ended
            server.run(sockets=[bound])
        if worker_index == 0:
            _say(Text("Stopped.", "已停止。"))


def _announce(
    model: LanguageModel | None,
    tasks: Mapping[str, "TaskModel"],
    encoder: "SentenceEncoder | None",
    config: ServeConfig,
    listener: socket.socket,
) -> None:
    port = listener.getsockname()[1]
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}.get(config.host, config.host)
    address = f"http://{f'[{host}]' if host.count(':') > 1 and host[0] != '[' else host}:{port}"
    if model is not None:
        _say(
            Text(
                f"{model.name} is served.\n  chat page   {address}\n  OpenAI API  {address}/v1",
                f"{model.name} 已开始服务。\n  对话页面    {address}\n  OpenAI API  {address}/v1",
            )
        )
        _say(
            Text(
                f"  engine      {model.engine_name}: {model.engine_reason.en}",
                f"  引擎        {model.engine_name}：{model.engine_reason.zh}",
            )
        )
    for name, task in tasks.items():
        place = f"{address}/v1/tasks/{name}"
        _say(Text(f"Task {name} ({task.kind}) is served.\n  POST {place}",
                  f"任务 {name}（{task.kind}）已开始服务。\n  POST {place}"))  # fmt: skip
    if encoder is not None:
        place = f"{address}/v1/embeddings"
        _say(
            Text(
                f"{encoder.name} makes vectors.\n  POST {place}", f"{encoder.name} 提供向量。\n  POST {place}"
            )
        )
    _say(Text("Ctrl-C stops.", "按 Ctrl-C 停止。"))
    if not config.is_loopback and not config.asks_for_keys:
        _say(
            Text(
                "Other machines can reach it and no API key is set: anyone on the network may use it.",
                "其他机器可以访问它，而没有设置 API 密钥：网络上的任何人都可以使用。",
            ),
            style="yellow",
        )


def _say(text: Text, style: str | None = None) -> None:
    console.print(str(text), style=style, markup=False, soft_wrap=True)


def cannot_listen(host: str, port: int, setting: str, error: OSError) -> ConfigError:
    """The port of a setting is taken, or the address is not this machine's."""
    reason = error.strerror or str(error)
    return ConfigError(
        Text(f"Cannot listen on {host} port {port}: {reason}.", f"无法监听 {host} 的端口 {port}：{reason}。"),
        Text(
            f"Stop the program that uses the port, or choose another one ({setting}=8001, or {setting}=0 for any free one).",
            f"请停止占用该端口的程序，或换一个端口（{setting}=8001，或用 {setting}=0 任选空闲端口）。",
        ),
    )
