"""The targets of a running server, and what must be as it was once they are through."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import psutil
from numpy.typing import NDArray
from prometheus_client.parser import text_string_to_metric_families

from fuzzing import http, models, open_texts
from fuzzing.campaign import Target, Verdict
from fuzzing.requests import SEQUENCES, Model, requests
from fuzzing.wire import HANG_S, Request, Server, array
from tritone.errors import StageFailed
from tritone.launcher import TritonServer
from tritone.triton_models import FLOW, FRONTEND, LANGUAGE_MODEL, VOCODER
from tritone_client import SpeechClient, Utterance

GAUGES = ("tritone_streams", "tritone_llm_generations", "tritone_flow_sequences")
SHARES = {
    "model: cosyvoice2": 40,
    "text in pieces": 40,
    f"model: {FRONTEND}": 150,
    f"model: {LANGUAGE_MODEL}": 150,
    f"model: {FLOW}": 70,
    f"model: {VOCODER}": 60,
    "HTTP: bodies": 150,
    "ports: bytes": 150,
}
GROWTH, ROOM = 1.5, 64 << 20  # of memory, for the longest texts and recordings
_PREFIX = re.compile(r"shm-region-prefix-name=(\w+)")


@dataclass(frozen=True)
class State:
    """processes: their ids. spoken: samples of one request. resident, shared: bytes of memory."""

    processes: frozenset[int]
    spoken: NDArray[np.float32]
    resident: int
    shared: int


def state_of(server: TritonServer) -> State:
    """Once nothing is held any more; raises StageFailed where something is for ever."""
    _wait_until_free(server)
    with SpeechClient(server.urls.grpc) as client:
        spoken = client.speak(Utterance("Hello there.", seed=1), timeout=HANG_S)
    _wait_until_free(server)
    main = psutil.Process(server.pid)
    family = [main, *main.children(recursive=True)]
    prefixes = _PREFIX.findall(" ".join(main.cmdline()))
    regions = [file for prefix in prefixes for file in Path("/dev/shm").glob(f"{prefix}*")]
    return State(
        frozenset(process.pid for process in family),
        spoken,
        sum(process.memory_info().rss for process in family),
        sum(file.stat().st_size for file in regions),
    )


def differences(before: State, after: State) -> list[str]:
    """What is not as it was."""
    told = []
    if before.processes != after.processes:
        told.append("a process of the server ended and another took its place")
    if not np.array_equal(before.spoken, after.spoken):
        told.append("the same request is spoken otherwise")
    for name in ("resident", "shared"):
        old, new = getattr(before, name), getattr(after, name)
        if new > GROWTH * old + ROOM:
            told.append(f"{name} memory grew from {old >> 20} to {new >> 20} MiB")
    return told


def _wait_until_free(server: TritonServer) -> None:
    deadline = time.monotonic() + HANG_S
    while kept := _held(server):
        if time.monotonic() > deadline:
            raise StageFailed("server", f"still holds {kept}")
        time.sleep(0.01)


def _held(server: TritonServer) -> dict[str, float]:
    with urlopen(server.urls.metrics, timeout=HANG_S) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        samples = {s.name: s.value for family in families for s in family.samples}
    return {name: samples[name] for name in GAUGES if samples[name]}


@contextmanager
def server_targets(server: TritonServer) -> Iterator[list[Target]]:
    """The targets of every model and both ports."""
    enemy = Server(server.urls.grpc, server.urls.http, server.inner_key)
    every = [models.public(), models.frontend(), models.language_model(), models.flow()]
    every.append(models.vocoder(enemy.output(models.begin_vocoder(), "next_state")))
    targets = [of_model(enemy, model) for model in every]
    targets.append(in_pieces(enemy, models.public()))
    targets.append(Target("HTTP: bodies", http.posts(), lambda case: enemy.post(*case)))
    targets.append(Target("ports: bytes", http.thrown(), lambda case: enemy.throw(*case)))
    try:
        yield targets
    finally:
        for sequence in range(1, SEQUENCES + 1):
            _end(enemy, sequence)
        enemy.close()


def in_pieces(enemy: Server, model: Model) -> Target:
    """A public model, whose texts come while they are written."""
    fields = enemy.fields(model.name) | open_texts.FIELDS
    cases = open_texts.conversations(model)
    return Target("text in pieces", cases, lambda case: enemy.talk(case, fields))


def of_model(enemy: Server, model: Model) -> Target:
    """Single requests to a model."""
    fields = enemy.fields(model.name)

    def tried(case: Request) -> Verdict:
        if not model.streams:
            return enemy.infer(case, fields)
        waits = any(tensor.name == models.OPEN_TEXT for tensor in case.inputs)
        return enemy.talk([case, models.stop(case.id)] if waits else [case], fields)

    return Target(f"model: {model.name}", requests(model), tried)


def _end(enemy: Server, sequence: int) -> None:
    flags = {"sequence_id": sequence, "sequence_start": True, "sequence_end": True}
    finalize = array("finalize", "BOOL", [[False]], "?")
    enemy.infer(
        Request(FLOW, (finalize, models.flow().good["prompt_voice"]), "", flags), frozenset()
    )
