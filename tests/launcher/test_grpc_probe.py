"""A server whose gRPC streams are answered no more is noticed, and ended."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from toy_server import toy_settings
from tritonclient.grpc import service_pb2, service_pb2_grpc
from waiting import HANG_S, wait_until

from tritone.launcher import TritonServer
from tritone.launcher.grpc_probe import MISSES, GrpcProbe

Answers = Callable[[Iterator[Any]], Iterator[Any]]


@contextmanager
def serving(answers: Answers) -> Iterator[str]:
    """A gRPC server whose streams are answered so; its address."""

    class Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):
        def ModelStreamInfer(self, requests: Iterator[Any], _: Any) -> Iterator[Any]:
            return answers(requests)

    server = grpc.server(futures.ThreadPoolExecutor(4))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Servicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


@contextmanager
def probing(url: str, answer_s: float) -> Iterator[GrpcProbe]:
    probe = GrpcProbe(url, every_s=0.01, answer_s=answer_s)
    try:
        yield probe
    finally:
        probe.close()


def test_streams_that_are_never_answered() -> None:
    over, asked = threading.Event(), []

    def silent(requests: Iterator[Any]) -> Iterator[Any]:
        asked.append(next(requests).model_name)
        over.wait()
        yield from ()

    with serving(silent) as url, probing(url, answer_s=0.05) as probe:
        wait_until(lambda: probe.deaf and len(asked) >= MISSES)
        over.set()


def test_a_refusal_is_an_answer() -> None:
    asked = []

    def refusing(requests: Iterator[Any]) -> Iterator[Any]:
        for request in requests:
            asked.append(request.model_name)
            yield service_pb2.ModelStreamInferResponse(error_message="unknown model")

    with serving(refusing) as url, probing(url, HANG_S) as probe:
        wait_until(lambda: len(asked) > 2 * MISSES)
        assert not probe.deaf


def test_a_server_that_is_not_there_is_not_deaf() -> None:
    with probing("127.0.0.1:1", HANG_S) as probe:
        assert probe._answered() and not probe.deaf


@pytest.mark.server
def test_a_deaf_server_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with TritonServer(toy_settings(tmp_path)) as server:
        server.wait_ready()
        assert server._probe is not None and server._probe._answered() and not server._probe.deaf
        server._probe.close()
        # of this server alone: that of all tests is watched too
        monkeypatch.setattr(server, "_probe", SimpleNamespace(deaf=True, close=lambda: None))
        assert server.next_loss() is None and server.exit_status == -signal.SIGKILL
        log = server.settings.log_path.read_text()
    assert "tritone_probe" not in log  # a line every few seconds would fill it


@pytest.mark.server
def test_a_server_that_stands_still_in_a_crash_is_ended(tmp_path: Path) -> None:
    """Triton waits for ever where it wants memory to tell of a crash in the midst of `malloc`."""
    with TritonServer(toy_settings(tmp_path)) as server:
        server.wait_ready()
        with server.settings.log_path.open("ab") as log:
            log.write(b"malloc(): corrupted top size\nSignal (6) received.\n")
        assert server.next_loss() is None and server.exit_status == -signal.SIGKILL


@pytest.mark.server
def test_a_server_that_crashes_has_the_time_to_tell(tmp_path: Path) -> None:
    with TritonServer(toy_settings(tmp_path)) as server:
        server.wait_ready()
        os.kill(server.pid, signal.SIGABRT)
        assert server.next_loss() is None and server.exit_status == -signal.SIGABRT
        assert "Signal (6) received." in server.settings.log_path.read_text()
