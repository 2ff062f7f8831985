"""Letting the utterances under way end before the server does.

Triton itself refuses the calls between models as soon as it is told to exit, so an utterance would
break then. A model that is being unloaded, however, takes no new requests and finishes those that
it has.
"""

import json
import re
import ssl
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from queue import Empty, SimpleQueue
from threading import Thread

from tritone.launcher.admin_key import AdminKey
from tritone.launcher.health import LOOK_S

ANSWER_S = 5.0  # of a server that is asked a small question

# the gauge that the public model keeps, as Prometheus text
_STREAMS = re.compile(r"^tritone_streams(?:\{[^}]*\})? (\S+)$", re.MULTILINE)


class ModelRepository:
    """Triton's model repository API of the server at `url`, whose command line has `arguments`."""

    def __init__(self, url: str, key: AdminKey) -> None:
        self._url, self._key = url, key

    def arguments(self, models: Sequence[str]) -> list[str]:
        """What makes `tritonserver` load these models, all of them for none, and unload them for
        who knows the key alone."""
        return [
            "--model-control-mode=explicit",
            *(f"--load-model={name}" for name in models or ("*",)),
            *self._key.arguments(),
        ]

    def drain(
        self, model: str, metrics_url: str, timeout_s: float, has_ended: Callable[[], bool]
    ) -> None:
        """Refuse new requests; return when none runs, or the time is over, or `has_ended` says so.

        has_ended: waits a little for the end of the server's process.

        Triton 2.51 may keep a model that called others loaded although its last request is over, so
        the model's own count of streams decides where it has one.
        """
        deadline = time.monotonic() + timeout_s
        with suppress(TimeoutError):  # a busy server takes it all the same
            if self._demand(f"models/{model}/unload") is None:
                return
        while time.monotonic() < deadline and self._is_loaded(model):
            if running_streams(metrics_url) == 0 or has_ended():
                return

    def reload(self, model: str, timeout_s: float, lives: Callable[[], bool]) -> bool:
        """Unload a model and load it again, which takes its time; whether it is loaded then.

        lives: asked now and then whether the server does. A dead one may say nothing: what it
        started holds its connections open.
        """
        path, loaded = f"models/{model}", SimpleQueue[bool]()

        def ask() -> None:
            unloaded = self._post(f"{path}/unload") is not None
            loaded.put(unloaded and self._post(f"{path}/load", timeout_s) is not None)

        Thread(target=ask, name=f"load {model}", daemon=True).start()
        while lives():
            with suppress(Empty):
                return loaded.get(timeout=LOOK_S)
        return False

    def _is_loaded(self, model: str) -> bool:
        """Whether the model is there still, say for its last requests, as far as is known: True
        where the server says nothing in time, False on any other failure."""
        try:
            index = json.loads(self._demand("index") or b"[]")
        except TimeoutError:
            return True
        states = {e["name"]: e.get("state") for e in index}
        return states.get(model) not in (None, "UNAVAILABLE")

    def _post(self, path: str, timeout_s: float = ANSWER_S) -> bytes | None:
        """None also where the server says nothing in time."""
        with suppress(TimeoutError):
            return self._demand(path, timeout_s)
        return None

    def _demand(self, path: str, timeout_s: float = ANSWER_S) -> bytes | None:
        headers = {**self._key.headers, "Content-Type": "application/json"}
        return demand(f"{self._url}/v2/repository/{path}", b"{}", headers, timeout_s)


def running_streams(metrics_url: str) -> float | None:
    """Streams being spoken, by the metrics of the server; None where it does not say."""
    found = _STREAMS.findall((ask(metrics_url) or b"").decode())
    return sum(map(float, found)) if found else None


@cache
def opener(tls: ssl.SSLContext | None = None) -> urllib.request.OpenerDirector:
    """Asks the server itself: a proxy of the environment would answer in its place, and see its
    keys."""
    direct, secure = urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls)
    return urllib.request.build_opener(direct, secure)


def ask(url: str) -> bytes | None:
    """GET: the answer; None for an error's, and where nothing answers."""
    with suppress(TimeoutError):
        return demand(url)
    return None


def demand(
    url: str,
    data: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = ANSWER_S,
) -> bytes | None:
    """GET, or POST with `data`: the answer; None for an error's, and where nothing listens. Raises
    TimeoutError where nothing is said within these seconds."""
    request = urllib.request.Request(url, data, dict(headers or {}))
    try:
        with opener().open(request, timeout=timeout_s) as answer:
            return bytes(answer.read())
    except OSError as error:
        cause = getattr(error, "reason", error)  # of a connection that was not made
        if isinstance(cause, TimeoutError):
            raise cause from error
        return None
