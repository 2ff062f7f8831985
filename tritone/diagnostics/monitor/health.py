"""Where a server is, whether it is live and ready, and its models' states, over HTTP."""

import http.client
import ipaddress
import json
import socket
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from tritone.launcher.drain import opener

READY = "READY"
NOT_READY = "NOT READY"
PYTHON = "python"  # Triton's backend whose models are processes of their own
_METRICS_OFFSET = 2  # as tritone serve gives its ports


@dataclass(frozen=True)
class Address:
    """http: base URL of Triton's HTTP service. metrics: URL of its metrics page. tls: for a proxy
    in front that speaks TLS; None trusts the authorities of this machine."""

    http: str
    metrics: str
    tls: ssl.SSLContext | None = None

    @property
    def name(self) -> str:
        """host:port of the HTTP service."""
        return urlsplit(self.http).netloc

    @property
    def http_port(self) -> int:
        return int(self.http.rpartition(":")[2])

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


def address(url: str, metrics_url: str | None = None, tls: ssl.SSLContext | None = None) -> Address:
    """The server at `url`, host:port or a URL, whose metrics are two ports above unless named.

    Raises ValueError for what is no address.
    """
    parts = _split(url, "--url")
    http = f"{parts.scheme}://{parts.netloc}"
    if metrics_url is None:
        host, _, port = http.rpartition(":")
        return Address(http, f"{host}:{int(port) + _METRICS_OFFSET}/metrics", tls)
    metrics = _split(metrics_url, "--metrics-url")
    path = metrics.path if metrics.path.strip("/") else "/metrics"
    return Address(http, f"{metrics.scheme}://{metrics.netloc}{path}", tls)


def _split(text: str, option: str) -> SplitResult:
    parts = urlsplit(text if "://" in text else f"http://{text}")
    try:
        complete = bool(parts.hostname and parts.port)
    except ValueError:  # a port that is no number, or too large
        complete = False
    if not complete or parts.scheme not in ("http", "https"):
        raise ValueError(f"{option} is {text!r}; host:port is needed, such as 127.0.0.1:8000")
    return parts


@dataclass(frozen=True)
class Answer:
    """status: of HTTP, an error's too."""

    status: int
    body: bytes


def fetch(
    url: str,
    data: bytes | None = None,
    timeout_s: float = 5.0,
    tls: ssl.SSLContext | None = None,
) -> Answer:
    """GET, or POST with `data`; raises ConnectionError, with the reason, when nothing answers."""
    try:
        request = urllib.request.Request(url, data)
        with opener(tls).open(request, timeout=timeout_s) as answer:
            return Answer(answer.status, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.read())
    except http.client.HTTPException as error:
        raise ConnectionError("what listens there does not speak HTTP") from error
    except OSError as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise ConnectionError(getattr(reason, "strerror", None) or str(reason)) from error


class HealthProbe:
    """Asks the server at `url`, a base URL, again and again, and remembers its models' names."""

    def __init__(self, url: str, tls: ssl.SSLContext | None = None) -> None:
        self._url, self._tls = url, tls
        self._names: set[str] = set()
        self._backends: dict[str, str] = {}

    def probe(self) -> tuple[bool | None, bool | None, dict[str, str], str | None]:
        """Live and ready, None where nothing answers; model -> state; why nothing is known."""
        try:
            live = self._fetch("/v2/health/live").status == 200
            ready = self._fetch("/v2/health/ready").status == 200
            return live, ready, self._states(), None
        except ConnectionError as error:
            return None, None, {}, str(error)
        except (ValueError, LookupError, TypeError) as error:
            return None, None, {}, f"this is no Triton server: {error!r}"

    def backend(self, model: str) -> str | None:
        """The backend of a model that is loaded; None where the server does not say."""
        if model not in self._backends:
            try:
                answer = self._fetch(f"/v2/models/{model}/config")
                self._backends[model] = json.loads(answer.body)["backend"]
            except (ConnectionError, ValueError, LookupError, TypeError):
                return None
        return self._backends[model]

    def _fetch(self, path: str, data: bytes | None = None) -> Answer:
        return fetch(f"{self._url}{path}", data, tls=self._tls)

    def _states(self) -> dict[str, str]:
        """By the repository's index, or where that is restricted by the models with statistics.

        tritone serve has the index open to itself alone; Triton has statistics of the models
        that are ready, and of no others.
        """
        index = self._fetch("/v2/repository/index", b"{}")
        if index.status == 200:
            states: dict[str, str] = {}
            for entry in json.loads(index.body):
                if states.get(entry["name"]) != READY:  # of several versions one is enough
                    states[entry["name"]] = entry.get("state") or NOT_READY
            return dict(sorted(states.items()))
        statistics = self._fetch("/v2/models/stats")
        loaded = json.loads(statistics.body)["model_stats"] if statistics.status == 200 else []
        ready = {entry["name"] for entry in loaded}
        self._names |= ready
        return {name: READY if name in ready else NOT_READY for name in sorted(self._names)}
