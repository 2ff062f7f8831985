"""A running server, asked over HTTP and looked at from outside: live, ready, models, processes.

The questions go to the target's own address and through no proxy.
"""

import json
import time
import urllib.error
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from tritone.diagnostics.doctor.check import Finding, check, failure, passed, skipped, warning
from tritone.diagnostics.doctor.target import Target
from tritone.diagnostics.monitor.health import PYTHON, READY, HealthProbe, address, fetch
from tritone.launcher.model_processes import by_model, find_server, uptime_s
from tritone.launcher.ports import Holder, holder_of
from tritone.loading.catalogue import STEPS, doctor_command
from tritone.loading.reports import StepState, states
from tritone.triton_models import INNER, unary_of

ANSWER_S = 3.0
"""A Triton server answers these questions within milliseconds, a busy one too."""

LOADING_S = 300.0
"""As long as tritone serve gives a server to load its models."""


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


def url_of(target: Target) -> str:
    return f"http://{target.host('http')}:{target.http_port}"


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


def is_ready(target: Target) -> bool:
    """Whether a Triton server answers there that can serve the model of the target's family."""
    server = ask(target, "/v2/health/ready")
    return server.good and ask(target, f"/v2/models/{target.family}/ready").good


def model_states(target: Target) -> dict[str, tuple[str, str]]:
    """Each model of the server -> its state, such as READY, and the reason, empty for none.

    A server that this project starts keeps its index to itself; of such a one, the models of the
    target's repository that it loads are asked for one by one, and have no reasons. The unary one
    need not be among them, or has another name there.
    """
    index = ask(target, "/v2/repository/index", data=b"{}")
    if not index.good:
        found_here = target.model_repository.glob("*/config.pbtxt")
        unary = unary_of(target.family)
        loaded = {*INNER, target.family, unary}
        names = sorted({path.parent.name for path in found_here} & loaded)
        ready = {name: ask(target, f"/v2/models/{name}/ready").good for name in names}
        told = [name for name in names if ready[name] or name != unary]
        return {name: (READY if ready[name] else "not ready", "") for name in told}
    found: dict[str, tuple[str, str]] = {}
    for entry in json.loads(index.body):
        name, state = entry["name"], entry.get("state") or "not loaded"
        if name not in found or state == READY:  # of several versions one is enough
            found[name] = state, entry.get("reason", "")
    return found


@check("server.live")
def live(target: Target) -> Finding:
    if target.server is False:
        return skipped("left alone, as asked for")
    answer, (server, holder) = ask(target, "/v2/health/live"), _seen_here(target)
    if answer.good:
        seconds = None if server is None else uptime_s(server)
        process = "" if seconds is None else f", process {server}, up for {seconds:.0f} s"
        return passed(f"{url_of(target)} answers{process}")
    if server is not None and answer.reach is Reach.REFUSED:
        return _loads(target, server)
    hangs = answer.reach is Reach.UNREACHED and holder is not None  # its queue is full
    if hangs or answer.reach is Reach.SILENT:
        return _hangs(target, server, holder)
    return _no_server(target, answer)


def _seen_here(target: Target) -> tuple[int | None, Holder | None]:
    """The server's process, and what listens on its port, where both are on this machine."""
    if not address(url_of(target)).is_local:
        return None, None
    return find_server(target.http_port), holder_of(target.http_port)


def _loads(target: Target, server: int) -> Finding:
    """Triton listens when every model is loaded, so one that hangs leaves it without a port."""
    seconds = uptime_s(server) or 0.0
    text = (
        f"process {server} has run for {seconds:.0f} s and does not listen on {target.http_port} "
        f"yet: it loads its models; {_steps_in_words(target)}"
    )
    return (failure if seconds > LOADING_S else warning)(text, _loading_fix(target))


def _steps_in_words(target: Target) -> str:
    return "; ".join(map(_step_words, _steps(target))) or "its log names no step that it is in"


def _steps(target: Target) -> list[StepState]:
    """What the models are in, or failed in, by the log of a server that this project started."""
    log = log_path(target)
    if not log.is_file():
        return []
    return list(states(log.read_text(encoding="utf-8", errors="replace").splitlines()).values())


def _step_words(state: StepState) -> str:
    if state.failed:
        return f"{state.model} failed in the step {state.step}"
    seconds = time.time() - state.since
    doing = f"{state.model} has been for {seconds:.0f} s in the step {state.step}"
    if state.step not in STEPS or seconds <= state.limit_s:
        return doing
    return f"{doing} (late after {state.limit_s:.0f} s; likely cause: {STEPS[state.step].cause})"


def _loading_fix(target: Target) -> str:
    """Load the models one by one, without a server; the log has what they said."""
    load = f"tritone load {target.model_dir}"
    kinds = [STEPS[state.step] for state in _steps(target) if state.step in STEPS]
    examine = f"; {doctor_command(kinds[0].check, target.model_dir)}" if kinds else ""
    return f"{load}{examine}; tail {log_path(target)}"


def log_path(target: Target) -> Path:
    """The server's log, where tritone serve puts it."""
    return target.settings().log_path


def _hangs(target: Target, server: int | None, holder: Holder | None) -> Finding:
    pid = server or (holder.pid if holder else None)
    silent = f"{url_of(target)} accepts connections and does not answer within {ANSWER_S:g} s"
    text = f"{silent}: {holder or 'what listens there'} hangs"
    stop = f"kill -9 {pid}" if pid else "end that process"
    return failure(text, f"{stop}; {target.serve_command(target.http_port)}; {_log_hint(target)}")


def _log_hint(target: Target) -> str:
    log = log_path(target)
    return f"its log is {log}" if log.is_file() else "its log: docker compose logs, or its terminal"


def _no_server(target: Target, answer: Answer) -> Finding:
    what = f"HTTP {answer.status}, no Triton server" if answer.status else answer.reach.value
    detail = f" ({answer.detail})" if answer.detail and answer.reach is Reach.UNREACHED else ""
    text = f"no server answers on {url_of(target)}: {what}{detail}"
    if target.server is None:
        return skipped(f"{text}; start one: make serve")
    start = f"{target.serve_command(target.http_port)}, or name the server: --address, --port-base"
    return failure(text, start)


def not_live(target: Target) -> str:
    """Why there is no server to look at; empty where there is one."""
    if target.server is False:
        return "left alone, as asked for"
    return "" if ask(target, "/v2/health/live").good else "no live server; see server.live"


@check("server.ready", unless=not_live, limit_s=30.0)
def ready(target: Target) -> Finding:
    if ask(target, "/v2/health/ready").good:
        return passed("the server is ready to infer")
    waiting = [name for name, (state, _) in model_states(target).items() if state != READY]
    names = ", ".join(waiting) or "none of those that it tells of"
    text = f"live but not ready; models not ready: {names}; {_steps_in_words(target)}"
    server, _ = _seen_here(target)
    seconds = None if server is None else uptime_s(server)
    young = seconds is not None and seconds < LOADING_S
    return (warning if young else failure)(text, _loading_fix(target))


@check("server.models", unless=not_live, limit_s=30.0)
def models(target: Target) -> Finding:
    found = model_states(target)
    bad = [
        f"{name} is {state}{f': {reason}' if reason else ''}"
        for name, (state, reason) in found.items()
        if state != READY
    ]
    if bad:
        return failure("; ".join(bad), _loading_fix(target))
    names = ", ".join(found)
    if target.family and target.family not in found:
        text = f"the server has {names or 'no models'}, and no {target.family}"
        fix = target.serve_command(target.http_port)
        return failure(f"{text}: it serves another repository", fix)
    return passed(f"{names}: all {READY}")


@check("server.processes", unless=not_live, limit_s=30.0)
def processes(target: Target) -> Finding:
    """Triton 2.51 calls a model ready whose process has died."""
    server, _ = _seen_here(target)
    if server is None:
        return skipped("the server's process cannot be seen: another machine, container or user")
    probe, running = HealthProbe(url_of(target)), by_model(server)
    claimed = [name for name, (state, _) in model_states(target).items() if state == READY]
    dead = [name for name in claimed if name not in running and probe.backend(name) == PYTHON]
    if dead:
        return failure(
            f"{', '.join(dead)}: the process has ended while the server calls the model ready; "
            "every request for it fails. Memory may have run out",
            f"restart the server: kill {server}; {target.serve_command(target.http_port)}; "
            f"{_log_hint(target)}; dmesg shows what the kernel killed",
        )
    sizes = [used.pss_bytes for used in running.values()]
    total = sum(size or 0 for size in sizes) / 2**30
    size = f", {total:.2f} GiB of memory" if sizes and None not in sizes else ""
    return passed(f"{', '.join(sorted(running))}: all processes live{size}")
