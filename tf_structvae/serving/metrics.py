"""What the server counts, in Prometheus' text format."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)


class Metrics:
    """Counters of one server.

    Labels take their values from what the server holds, never from a request, so that nobody can
    fill the memory with new ones.
    """

    def __init__(self):
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "structvae_requests_total",
            "Requests by model, verb and HTTP status; 499: the client left.",
            ["model", "verb", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "structvae_predict_seconds",
            "From the first byte of a request to its result, of requests that got one.",
            ["model", "signature"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._rows = Counter(
            "structvae_predict_rows_total",
            "Rows of these requests.",
            ["model", "signature"],
            registry=self._registry,
        )
        self._gauges = {
            name: Gauge(f"structvae_{name}", text, registry=self._registry)
            for name, text in (("inside", "Requests let in."), ("running", "Calls of models."))
        }
        self._version = Gauge(
            "structvae_model_version", "The served version.", ["model"], registry=self._registry
        )
        ProcessCollector(registry=self._registry)

    def request(self, model: str, verb: str, status: int) -> None:
        """Counts an answer."""
        self._requests.labels(model, verb, str(status)).inc()

    def predicted(self, model: str, signature: str, rows: int, seconds: float) -> None:
        """Counts a result."""
        self._seconds.labels(model, signature).observe(seconds)
        self._rows.labels(model, signature).inc(rows)

    def version(self, model: str, number: int | None) -> None:
        """Notes which version is served."""
        self._version.labels(model).set(-1 if number is None else number)

    def text(self, **gauges: int) -> bytes:
        """All of them; `inside` and `running` are set first."""
        for name, value in gauges.items():
            self._gauges[name].set(value)
        return generate_latest(self._registry)
