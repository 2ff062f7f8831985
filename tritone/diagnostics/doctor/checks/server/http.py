"""Questions to a server over HTTP, to the target's own address and through no proxy."""

import json
import urllib.error
from dataclasses import dataclass
from enum import Enum
from typing import Any

from tritone.diagnostics.doctor.target import Target
from tritone.diagnostics.monitor.health import fetch

READY = "READY"
ANSWER_S = 3.0
"""A Triton server answers these questions within milliseconds, a busy one too."""


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


def ask(target: Target, path: str, data: bytes | None = None) -> Answer:
    """GET, or POST with data; never raises."""
    try:
        answer = fetch(f"{url_of(target)}{path}", data, ANSWER_S)
    except ConnectionError as error:
        return Answer(_reach(error.__cause__), detail=str(error))
    return Answer(Reach.ANSWERED, answer.status, answer.body)


def _reach(cause: BaseException | None) -> Reach:
    if isinstance(cause, urllib.error.URLError):  # before the question was sent
        refused = isinstance(cause.reason, ConnectionRefusedError)
        return Reach.REFUSED if refused else Reach.UNREACHED
    return Reach.SILENT if isinstance(cause, TimeoutError) else Reach.FOREIGN


def is_live(target: Target) -> bool:
    """Whether a Triton server answers there."""
    return ask(target, "/v2/health/live").good


def is_ready(target: Target) -> bool:
    """Whether a Triton server answers there that can serve the model of the target's family."""
    server = ask(target, "/v2/health/ready")
    return server.good and ask(target, f"/v2/models/{target.family}/ready").good


def model_states(target: Target) -> list[ModelState]:
    """The models of the server and how they are.

    A server that this project starts keeps its index to itself; of such a one, the models of the
    target's repository are asked for one by one, and have no reasons.
    """
    index = ask(target, "/v2/repository/index", data=b"{}")
    if not index.good:
        names = sorted(path.parent.name for path in target.model_repository.glob("*/config.pbtxt"))
        return [ModelState(name, _asked_state(target, name)) for name in names]
    found: dict[str, ModelState] = {}
    entries: list[dict[str, Any]] = json.loads(index.body)
    for entry in entries:
        name, state = entry["name"], entry.get("state") or "not loaded"
        if name not in found or state == READY:  # of several versions one is enough
            found[name] = ModelState(name, state, entry.get("reason", ""))
    return list(found.values())


def _asked_state(target: Target, model: str) -> str:
    return READY if ask(target, f"/v2/models/{model}/ready").good else "not ready"
