"""What a gateway counts, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

_FIRST_BYTE_S = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0)


class Metrics:
    """Of one gateway. outcome: ok, cancelled (the caller went), refused, overloaded, failed."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self.speeches = Counter(
            "tritone_gateway_speeches",
            "Requests for speech that have ended",
            ("format", "outcome"),
            registry=registry,
        )
        self.first_byte = Histogram(
            "tritone_gateway_first_byte_seconds",
            "From a request for speech until its first sound was sent",
            ("format",),
            buckets=_FIRST_BYTE_S,
            registry=registry,
        )
        self.streams = Gauge(
            "tritone_gateway_streams", "Streams that are spoken now", registry=registry
        )
        self.sockets = Gauge(
            "tritone_gateway_connections", "WebSockets that are open", registry=registry
        )
        self.audio = Counter(
            "tritone_gateway_audio_seconds",
            "Seconds of speech that were sent",
            ("format",),
            registry=registry,
        )

    def page(self) -> bytes:
        return generate_latest(self._registry)
