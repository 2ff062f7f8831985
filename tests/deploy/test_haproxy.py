"""What the balancer's configuration lets through, on the real programs; how it balances is tested
in tests/server/test_balanced_server.py."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from certificates import HOST, Certificates
from toy_server import PACKET, toy_settings
from tritonclient.grpc import service_pb2, service_pb2_grpc
from waiting import HANG_S

from benchmarks import balancer as balancing
from tritone.launcher import TritonServer
from tritone_client import SpeechClient, SpeechError, Tls, Utterance
from tritone_client.request import infer_request

HAPROXY = balancing.HAPROXY
pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(HAPROXY is None, reason="haproxy (Debian's package) is missing"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    folder = tmp_path_factory.mktemp("toy")
    with TritonServer(toy_settings(folder)) as running:
        running.wait_ready()
        yield running


@pytest.fixture(scope="module")
def url(server: TritonServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    ports = balancing.Ports(server.settings.grpc_port, server.settings.http_port)
    with balancing.balancer([ports], tmp_path_factory.mktemp("proxy")) as front:
        yield front.url


def test_the_file_is_valid_as_it_comes_along() -> None:
    command = [str(HAPROXY), "-c", "-f", str(balancing.CONFIGURATION)]
    assert subprocess.run(command, capture_output=True, timeout=HANG_S).returncode == 0


def test_metadata_that_can_crash_triton_do_not_get_through(url: str) -> None:
    """With them the call would end with a status, in place of a message in the stream."""
    request = infer_request(Utterance("fail"), "cosyvoice2")
    with grpc.insecure_channel(url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        metadata = [("triton_grpc_error", "true")]
        (message,) = stub.ModelStreamInfer(iter([request]), metadata=metadata, timeout=HANG_S)
    assert message.error_message == "target_text: it says fail"


def test_administrative_calls_do_not_get_through(url: str) -> None:
    with grpc.insecure_channel(url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        assert stub.ServerReady(service_pb2.ServerReadyRequest(), timeout=HANG_S).ready
        with pytest.raises(grpc.RpcError) as error:
            stub.RepositoryIndex(service_pb2.RepositoryIndexRequest(), timeout=HANG_S)
    assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "404" in error.value.details()


def test_its_line_for_mutual_tls_takes_only_known_clients(
    server: TritonServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued = Certificates(tmp_path)
    both = tmp_path / "proxy.pem"
    both.write_bytes(issued.pem("server").read_bytes() + issued.key("server").read_bytes())
    text = balancing.CONFIGURATION.read_text(encoding="utf-8")
    (line,) = [line for line in text.splitlines() if line.endswith("verify required")]
    places = {
        "# bind :8443": "bind 127.0.0.1:8011",
        "/etc/tritone/proxy.pem": str(both),
        "/etc/tritone/clients.pem": str(issued.pem("clients")),
    }
    own = line
    for place, here in places.items():
        own = own.replace(place, here)
    file = tmp_path / "own.cfg"
    file.write_text(text.replace("    bind 127.0.0.1:8011 proto h2", own), encoding="utf-8")
    monkeypatch.setattr(balancing, "CONFIGURATION", file)
    ports = balancing.Ports(server.settings.grpc_port, server.settings.http_port)
    with balancing.balancer([ports], tmp_path, HOST) as front:
        known = Tls(issued.pem("servers"), *issued.pair("client"))
        with SpeechClient(front.url, tls=known) as client:
            assert client.speak(Utterance("one two"), timeout=HANG_S).size == 2 * PACKET
        refused = pytest.raises(SpeechError, match="UNAVAILABLE")
        with refused, SpeechClient(front.url, tls=Tls(issued.pem("servers"))) as client:
            client.speak(Utterance("one"), timeout=HANG_S)
