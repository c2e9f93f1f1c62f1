"""Settings of the server: where it listens, who may call it, and how much it takes on."""

import ipaddress
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from hanlin.base.config import Settings
from hanlin.corpus.config import ScrubConfig


class ServeConfig(Settings):
    """What `hanlin serve MODEL port=8001 host=...` can set."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 lets other machines in (then set `api_key`)."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port to listen on; 0 takes any free one."""
    api_key: SecretStr | None = Field(default=None, min_length=1)
    """If set, /v1 and /metrics need `Authorization: Bearer <key>`; this one may do everything."""
    keys: Path | None = None
    """A file of keys, as `hanlin keys` makes it: each with a name, scopes and limits."""
    store: str | None = None
    """Where conversations and feedback are kept: a folder, or postgresql://user:password@host/database; null: nowhere."""
    keep_days: float | None = Field(default=None, gt=0)
    """Days after which what is kept is deleted; null: never."""
    mask: ScrubConfig = ScrubConfig()
    """Which personal data are replaced by tags before anything is kept."""
    allowed_hosts: tuple[str, ...] = ()
    """Names in the Host header that are answered; empty: loopback names on a loopback address, else any."""
    mode: Literal["auto", "chat", "completion"] = "auto"
    """What the page opens with; auto: chat for a chat-tuned model, completion for a base model."""
    max_rows: int = Field(default=8, ge=1)
    """Generations that run at once in one batch."""
    max_queue: int = Field(default=32, ge=0)
    """Generations that may wait for a row; one more is answered 429."""
    max_choices: int = Field(default=8, ge=1)
    """Largest number of texts (prompts times `n`) in one request."""
    max_inputs: int = Field(default=128, ge=1)
    """Largest number of inputs in one request for a task; `max_queue` such requests may wait."""
    max_new_tokens: int = Field(default=2048, ge=1)
    """Largest `max_tokens` of a request, in tokens."""
    max_body_bytes: int = Field(default=1 << 20, ge=1024)
    """Largest request body, in bytes."""
    body_timeout: float = Field(default=30.0, gt=0)
    """Seconds that a client may take to send its body."""
    stream_interval: float = Field(default=0.02, ge=0, le=1)
    """Seconds that a token of a stream may wait, so that those which follow it go together; 0: none waits."""
    request_timeout: float = Field(default=300.0, gt=0)
    """Seconds from the arrival of a request to its last token, waiting included."""
    shutdown_timeout: float = Field(default=30.0, ge=0)
    """Seconds that running requests may still take after Ctrl-C or SIGTERM."""
    access_log: bool = True
    """Log one line a request (never its text)."""
    log_format: Literal["text", "json"] = "text"
    """json: one object a line, on standard error."""
    log_prompts: bool = False
    """Log what requests ask, whole; for finding mistakes, not for other people's texts."""
    audit_log: Path | None = None
    """A file to which each administrative action and each refused key adds a line of JSON."""
    metrics_port: int | None = Field(default=None, ge=0, le=65535)
    """Port of 127.0.0.1 that answers /metrics instead of `port`, without a key; worker k has this plus k."""
    telemetry: bool = False
    """Send a span of OpenTelemetry for each request (extra `telemetry`), where OTEL_EXPORTER_OTLP_ENDPOINT says."""
    workers: int = Field(default=1, ge=1)
    """Processes behind the port, each with an engine of its own and its share of the CPU's cores."""

    @property
    def asks_for_keys(self) -> bool:
        """Whether callers need a key."""
        return self.api_key is not None or self.keys is not None

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach `host`."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def hosts(self) -> tuple[str, ...]:
        """The Host names that are answered; empty means any."""
        if self.allowed_hosts or not self.is_loopback:
            return self.allowed_hosts
        return ("localhost", "127.0.0.1", "[::1]", self.host)
