"""The metrics at `/metrics`, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

_SECONDS = (0.0025, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.04, 0.075, 0.15, 0.3, 0.6, 1.25, 2.5, 5, 10)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """The metrics of one server, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = own = CollectorRegistry()
        ProcessCollector(registry=own)
        self.requests = Counter("jabert_requests", "Requests answered.", ("path", "status"), registry=own)
        self.seconds = Histogram(
            "jabert_request_seconds",
            "From the head of a request to invocations to the end of its answer.",
            buckets=_SECONDS,
            registry=own,
        )
        self.batch_texts = Histogram(
            "jabert_batch_texts", "Texts predicted together.", buckets=_TEXTS, registry=own
        )
        self.queue_texts = Gauge("jabert_queue_texts", "Texts that wait.", registry=own)
        self.load_failures = Counter(
            "jabert_load_failures", "Versions that could not be loaded.", registry=own
        )
        self._served = Gauge("jabert_model_info", "The version that serves.", ("version",), registry=own)

    def set_version(self, version: str) -> None:
        """Set the version that is served."""
        self._served.clear()
        self._served.labels(version).set(1)

    def to_text(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self._registry)
