"""What the server counts and times, for Prometheus. One registry per application, nothing global."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_FIRST = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_BETWEEN = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """The instruments of one server; times are in seconds."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        here = self.registry
        self.requests = Counter("hanlin_requests", "HTTP requests.", ["route", "status"], registry=here)
        self.request_seconds = Histogram(
            "hanlin_request_seconds",
            "From the arrival of a request to its last byte.",
            ["route"],
            registry=here,
        )
        self.prompt_tokens = Counter("hanlin_prompt_tokens", "Tokens read.", registry=here)
        self.new_tokens = Counter("hanlin_new_tokens", "Tokens generated.", registry=here)
        self.finished = Counter(
            "hanlin_generations",
            "Generations ended, by reason: stop, length, cancelled, timeout, error.",
            ["reason"],
            registry=here,
        )
        self.first_token = Histogram(
            "hanlin_time_to_first_token_seconds", "Waiting included.", buckets=_FIRST, registry=here
        )
        self.inter_token = Histogram(
            "hanlin_inter_token_seconds", "Between two tokens of a text.", buckets=_BETWEEN, registry=here
        )
        self.running = Gauge("hanlin_running", "Generations that have begun.", registry=here)
        self.waiting = Gauge("hanlin_waiting", "Generations that wait for a row.", registry=here)
        self.queue_seconds = Histogram(
            "hanlin_queue_seconds", "From arrival to a row of the engine.", buckets=_FIRST, registry=here
        )
        self.cached_tokens = Counter(
            "hanlin_cached_prompt_tokens", "Prompt tokens that were held already.", registry=here
        )
        self.preemptions = Counter(
            "hanlin_preemptions", "Times that a generation gave its memory to older ones.", registry=here
        )
        self.proposed = Counter("hanlin_proposed_tokens", "Tokens that speculation guessed.", registry=here)
        self.accepted = Counter("hanlin_accepted_tokens", "Guesses that were right.", registry=here)
        self.cache_tokens = Gauge(
            "hanlin_cache_tokens", "Tokens in the cache, idle prefixes included.", registry=here
        )
        self.task_inputs = Counter(
            "hanlin_task_inputs", "Inputs of tasks that were answered.", ["task"], registry=here
        )
        self.task_seconds = Histogram(
            "hanlin_task_seconds",
            "From a task's request to its answer, waiting included.",
            ["task"],
            registry=here,
        )

    def render(self) -> bytes:
        """The text exposition format of everything above."""
        return generate_latest(self.registry)
