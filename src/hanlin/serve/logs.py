"""The server's log, as text or as JSON, and its audit log: who did what to the server, and whose key was refused.

A record's further facts stand in its attribute `facts`.
"""

import json
import logging
import time
from pathlib import Path
from typing import Any

from hanlin.base.progress import console
from hanlin.serve.config import ServeConfig

audit = logging.getLogger("hanlin.audit")


class JsonLines(logging.Formatter):
    """One JSON object a record: time (RFC 3339, UTC), level, logger, message, and its facts."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{at}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def log_to_console(config: ServeConfig) -> None:
    """Send our log and uvicorn's to standard error, and the audit log to its file besides."""
    handler = _handler(config)
    levels = {
        "hanlin.serve": logging.INFO,
        "hanlin.audit": logging.INFO,
        "uvicorn.error": logging.WARNING,
    }
    for name, level in levels.items():
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False
    if config.audit_log is not None:
        audit.addHandler(_audit_file(config.audit_log))


def _handler(config: ServeConfig) -> logging.Handler:
    if config.log_format == "json":
        lines = logging.StreamHandler()
        lines.setFormatter(JsonLines())
        return lines
    from rich.logging import RichHandler

    return RichHandler(console=console, show_path=False, log_time_format="[%X]")


def _audit_file(path: Path) -> logging.Handler:
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(JsonLines())
    return handler


def note_admin(user: str, method: str, path: str, status: int, request_id: str) -> None:
    """One line for an action that needs the scope admin."""
    facts = {
        "event": "admin",
        "user": user,
        "method": method,
        "path": path,
        "status": status,
        "request_id": request_id,
    }
    audit.info("admin: %s %s by %s: %d", method, path, user, status, extra={"facts": facts})


def note_refusal(code: str | None, status: int, path: str, client: str, request_id: str) -> None:
    """One line for a key, or a lack of one, that was refused; never the key."""
    facts = {
        "event": "refused",
        "code": code,
        "status": status,
        "path": path,
        "client": client,
        "request_id": request_id,
    }
    audit.warning("refused: %s at %s from %s", code, path, client, extra={"facts": facts})
