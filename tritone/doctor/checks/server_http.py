"""Questions to a server over HTTP, to the target's own address and through no proxy."""

import http.client
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from enum import Enum
from typing import Any

from tritone.doctor.target import Target

PUBLIC_MODEL = "cosyvoice2"
ANSWER_S = 3.0
"""A Triton server answers these questions within milliseconds, a busy one too."""

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Reach(Enum):
    """How far a question came."""

    ANSWERED = "answered"
    REFUSED = "nothing listens"
    UNREACHED = "no connection"
    SILENT = "accepts connections but does not answer"
    FOREIGN = "does not speak HTTP"


@dataclass(frozen=True)
class Answer:
    """status: of HTTP, 0 without an answer."""

    reach: Reach
    status: int = 0
    body: bytes = b""
    detail: str = ""

    @property
    def good(self) -> bool:
        return self.status == 200


@dataclass(frozen=True)
class ModelState:
    """As Triton's repository index has it. state: such as READY; reason: empty for none."""

    name: str
    state: str
    reason: str = ""


def url_of(target: Target) -> str:
    host = target.reachable_host
    return f"http://{f'[{host}]' if ':' in host else host}:{target.http_port}"


def ask(target: Target, path: str, data: bytes | None = None, limit_s: float = ANSWER_S) -> Answer:
    """GET, or POST with data; never raises."""
    request = urllib.request.Request(f"{url_of(target)}{path}", data=data)
    try:
        with _DIRECT.open(request, timeout=limit_s) as answer:
            return Answer(Reach.ANSWERED, answer.status, answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(Reach.ANSWERED, error.code, error.read())
    except urllib.error.URLError as error:  # before the question was sent
        refused = isinstance(error.reason, ConnectionRefusedError)
        return Answer(Reach.REFUSED if refused else Reach.UNREACHED, detail=str(error.reason))
    except TimeoutError:
        return Answer(Reach.SILENT)
    except (http.client.HTTPException, OSError) as error:
        return Answer(Reach.FOREIGN, detail=f"{type(error).__name__}: {error}")


def is_live(target: Target) -> bool:
    """Whether a Triton server answers there."""
    return ask(target, "/v2/health/live").good


def is_ready(target: Target) -> bool:
    """Whether a Triton server answers there that can serve Tritone's public model."""
    server = ask(target, "/v2/health/ready")
    return server.good and ask(target, f"/v2/models/{PUBLIC_MODEL}/ready").good


def model_states(target: Target) -> list[ModelState]:
    """The models of the server and how they are.

    A server that this project starts keeps its index to itself; of such a one, the models of the
    target's repository are asked for one by one, and have no reasons.
    """
    index = ask(target, "/v2/repository/index", data=b"{}")
    if index.good:
        entries: list[dict[str, Any]] = json.loads(index.body)
        return [
            ModelState(entry["name"], entry.get("state", "not loaded"), entry.get("reason", ""))
            for entry in entries
        ]
    names = sorted(path.parent.name for path in target.model_repository.glob("*/config.pbtxt"))
    return [ModelState(name, _asked_state(target, name)) for name in names]


def _asked_state(target: Target, model: str) -> str:
    return "READY" if ask(target, f"/v2/models/{model}/ready").good else "not ready"
