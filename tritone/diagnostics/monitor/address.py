"""Where a server is."""

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

_METRICS_OFFSET = 2  # as tritone serve gives its ports


@dataclass(frozen=True)
class Address:
    """http: base URL of Triton's HTTP service. metrics: URL of its metrics page."""

    http: str
    metrics: str

    @property
    def name(self) -> str:
        """host:port of the HTTP service."""
        return urlsplit(self.http).netloc

    @property
    def http_port(self) -> int:
        port = urlsplit(self.http).port
        assert port is not None, self.http
        return port

    @property
    def is_local(self) -> bool:
        """Whether the server is on this machine, so that its processes and log may be looked at."""
        host = urlsplit(self.http).hostname or ""
        if host in ("localhost", socket.gethostname()):
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False


def address(url: str, metrics_url: str | None = None) -> Address:
    """The server at `url`, host:port or a URL, whose metrics are two ports above unless named.

    Raises ValueError for what is no address.
    """
    parts = _split(url, "--url")
    http = f"{parts.scheme}://{parts.netloc}"
    if metrics_url is None:
        port = f"{parts.port}"
        host = parts.netloc.removesuffix(f":{port}")
        return Address(http, f"{parts.scheme}://{host}:{int(port) + _METRICS_OFFSET}/metrics")
    metrics = _split(metrics_url, "--metrics-url")
    path = metrics.path if metrics.path.strip("/") else "/metrics"
    return Address(http, f"{metrics.scheme}://{metrics.netloc}{path}")


def _split(text: str, option: str) -> SplitResult:
    parts = urlsplit(text if "://" in text else f"http://{text}")
    try:
        complete = bool(parts.hostname and parts.port)
    except ValueError:  # a port that is no number, or too large
        complete = False
    if not complete or parts.scheme not in ("http", "https"):
        raise ValueError(f"{option} is {text!r}; host:port is needed, such as 127.0.0.1:8000")
    return parts
