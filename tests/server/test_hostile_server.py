"""A small sample of `make fuzz` on the real server, and clients that mean no good."""

import re
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

import numpy as np
import psutil
import pytest
from serving import LONG, is_speech, wait_until_free
from waiting import HANG_S, wait_until

from fuzzing.campaign import attempt
from fuzzing.served import SHARES, State, differences, server_targets, state_of
from fuzzing.wire import Server
from tritone.launcher import TritonServer
from tritone_client import SpeechClient, SpeechError, Utterance

pytestmark = pytest.mark.server

SILENT = 1000
FLOOD = 500
SPOKEN = Utterance("Hello there.", seed=1)


@pytest.fixture
def before(server: TritonServer) -> State:
    return state_of(server)


def test_hostile_requests_are_refused_and_leave_nothing(
    server: TritonServer, before: State
) -> None:
    with server_targets(server) as targets:
        assert {target.name for target in targets} == SHARES.keys()
        outcomes = [attempt(target, 25, seed=0) for target in targets]
    assert all(outcome.cases for outcome in outcomes)
    assert not [fault for outcome in outcomes for fault in outcome.faults.values()]
    assert not differences(before, state_of(server))


@pytest.mark.parametrize("name", [b"\xff\xfe", b"\xed\xa0\x80", b"a" * 10_000], ids=len)
def test_an_id_that_is_no_text_is_refused(server: TritonServer, before: State, name: bytes) -> None:
    """More often than there are places for streams: each used to keep its own for ever."""
    llm = b'"input_ids": [1, 2], "input_lengths": 2, "request_output_len": 2'
    enemy = Server(server.urls.grpc, server.urls.http)
    for model, rest in (("cosyvoice2", b'"target_text": "Hi."'), ("tensorrt_llm", llm)):
        body = b'{"id": "%s", %s}' % (name, rest)
        for _ in range(20):
            answer = enemy.post(f"/v2/models/{model}/generate", body, {})
            assert re.search(r"(INVALID_ARGUMENT|InvalidRequest): id: (is not|has)", answer.message)
    enemy.close()
    assert not differences(before, state_of(server))


def test_the_coldest_temperature_is_spoken(client: SpeechClient) -> None:
    """Its generation used to break, and every request after it waited for ever."""
    assert is_speech(client.speak(Utterance("Hello there.", temperature=1e-45, top_k=5)))


@contextmanager
def many_descriptors(count: int) -> Iterator[None]:
    """As many more descriptors as are needed, if the system gives them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = count + 500
    if hard != resource.RLIM_INFINITY and hard < needed:
        pytest.skip(f"{needed} descriptors are needed, {hard} are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def descriptors(server: TritonServer) -> int:
    return psutil.Process(server.pid).num_fds()


def addresses(server: TritonServer) -> list[tuple[str, int]]:
    urls = [urlsplit(server.urls.http), urlsplit(f"//{server.urls.grpc}")]
    return [(str(url.hostname), int(url.port or 0)) for url in urls]


def test_connections_that_say_nothing_harm_nobody(
    server: TritonServer, client: SpeechClient, before: State
) -> None:
    usual = descriptors(server)
    with many_descriptors(SILENT), ExitStack() as opened:
        for number in range(SILENT):
            address = addresses(server)[number % 2]
            opened.enter_context(socket.create_connection(address, timeout=HANG_S))
        assert np.array_equal(client.speak(SPOKEN, timeout=HANG_S), before.spoken)
    wait_until(lambda: descriptors(server) < usual + 50, lambda: (usual, descriptors(server)))
    assert not differences(before, state_of(server))


def test_a_flood_of_bad_requests_harms_nobody(
    server: TritonServer, client: SpeechClient, before: State
) -> None:
    usual = descriptors(server)
    neighbour = client.stream(Utterance(LONG, seed=2), timeout=2 * HANG_S)
    first = next(neighbour)
    with SpeechClient(server.urls.grpc) as flooding:
        for number in range(FLOOD):
            bad = Utterance("<speak>" * (number % 3), speed=3.0 + number)
            with pytest.raises(SpeechError) as refused:
                flooding.speak(bad, timeout=HANG_S)
            assert refused.value.status in ("INVALID_ARGUMENT", "UNAVAILABLE")
    assert is_speech(np.concatenate([first, *neighbour]))
    wait_until_free(server)
    wait_until(lambda: descriptors(server) < usual + 50, lambda: (usual, descriptors(server)))
    assert np.array_equal(client.speak(SPOKEN, timeout=HANG_S), before.spoken)
    assert not differences(before, state_of(server))
