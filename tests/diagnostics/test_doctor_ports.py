"""The doctor's checks of the ports, with real sockets in the way."""

import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from toy_server import free_ports
from triton_http import FakeTriton

from tritone.diagnostics.doctor.check import Status, checks_in
from tritone.diagnostics.doctor.checks import ports
from tritone.diagnostics.doctor.examine import examine
from tritone.diagnostics.doctor.target import Target
from tritone.launcher.ports import check_free, holder_of


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return Target(cache_dir=tmp_path, **free_ports())


@pytest.fixture
def taken(target: Target) -> Iterator[int]:
    """The metrics port, held by this process."""
    with socket.create_server(("127.0.0.1", target.metrics_port)) as held:
        yield held.getsockname()[1]


def test_free_ports(target: Target):
    for diagnosis in examine(checks_in(ports), target):
        assert diagnosis.finding.status is Status.PASS
        assert diagnosis.finding.text.endswith("is free")


def test_a_taken_port_is_found_with_its_holder(target: Target, taken: int):
    http, _, metrics = examine(checks_in(ports), target)
    assert http.finding.status is Status.PASS
    assert metrics.finding.status is Status.FAIL
    assert f"the metrics port {taken} is taken by process {os.getpid()} (" in metrics.finding.text
    assert metrics.finding.fix.startswith(f"kill {os.getpid()}  # or: tritone serve")
    assert "--port-base" in metrics.finding.fix


def test_the_ports_that_are_offered_are_free(target: Target):
    base = ports.free_base("127.0.0.1")
    assert base is not None
    check_free("127.0.0.1", {"http": base, "grpc": base + 1, "metrics": base + 2})


def test_a_holder_that_cannot_be_seen(target: Target, taken: int, monkeypatch):
    monkeypatch.setattr("tritone.launcher.ports.holder_of", lambda port: None)
    monkeypatch.setattr(ports, "holder_of", lambda port: None)
    found = ports.metrics(target)
    assert found.status is Status.FAIL
    assert "is taken by another process" in found.text
    assert "kill" not in found.fix


def test_an_address_of_another_machine(target: Target):
    found = ports.http(replace(target, address="192.0.2.1"))
    assert found.status is Status.FAIL
    assert "cannot listen on 192.0.2.1" in found.text
    assert "another --address" in found.fix


def test_a_ready_server_of_ours_may_have_them(target: Target, taken: int):
    with FakeTriton({"cosyvoice2": ("READY", "")}, target.http_port):
        assert holder_of(target.http_port) == holder_of(taken)
        for found in (ports.http(target), ports.metrics(target)):
            assert found.status is Status.PASS
            assert "is ready and has cosyvoice2: process" in found.text


def test_a_server_without_our_model_is_in_the_way(target: Target):
    with FakeTriton({"resnet": ("READY", "")}, target.http_port):
        assert ports.http(target).status is Status.FAIL
