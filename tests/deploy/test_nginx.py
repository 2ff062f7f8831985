"""TLS for HTTP and gRPC by the proxy whose configuration comes along, on the real programs."""

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from certificates import HOST, Certificates
from paths import PROJECT
from toy_server import PACKET, toy_settings
from tritonclient.grpc import service_pb2_grpc
from waiting import HANG_S, wait_until

from tritone import cli
from tritone.diagnostics.monitor.health import fetch
from tritone.launcher import TritonServer
from tritone_client import SpeechClient, SpeechError, Tls, Utterance
from tritone_client.request import infer_request

NGINX = shutil.which("nginx") or shutil.which("nginx", path=PROJECT / ".venv" / "bin")

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(NGINX is None, reason="nginx (Debian's package of that name) is missing"),
]


def configuration(server: TritonServer, issued: Certificates, port: int, folder: Path) -> str:
    """A whole one, around the file as it comes along, with the places of this test."""
    site = (PROJECT / "deploy" / "nginx.conf").read_text(encoding="utf-8")
    places = {
        "listen 8443": f"listen {HOST}:{port}",
        "127.0.0.1:8000": server.urls.http.removeprefix("http://"),
        "127.0.0.1:8001": server.urls.grpc,
        "127.0.0.1:8002": f"127.0.0.1:{server.settings.metrics_port}",
        "/etc/tritone/server.pem": str(issued.pem("server")),
        "/etc/tritone/server.key": str(issued.key("server")),
        "# ssl_client_certificate /etc/tritone/clients.pem": "ssl_client_certificate "
        + str(issued.pem("clients")),
        "# ssl_verify_client": "ssl_verify_client",
    }
    for place, here in places.items():
        assert site.count(place) == 1, place
        site = site.replace(place, here)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "\n".join(f"{kind}_temp_path {folder / kind};" for kind in kinds)
    return (
        f"daemon off; master_process off; pid {folder / 'pid'}; error_log stderr;\n"
        f"events {{}}\nhttp {{ access_log off;\n{temporary}\n{site}}}\n"
    )


@contextmanager
def nginx(configuration: str, folder: Path, port: int) -> Iterator[None]:
    file = folder / "nginx.conf"
    file.write_text(configuration, encoding="utf-8")
    command = [str(NGINX), "-p", str(folder), "-e", "stderr", "-c", str(file)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:

        def listens() -> bool:
            assert process.poll() is None, process.stderr.read()
            with socket.socket() as probe:
                return probe.connect_ex((HOST, port)) == 0

        try:
            wait_until(listens)
            yield
        finally:
            process.terminate()
            process.wait(HANG_S)


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("nginx")


@pytest.fixture(scope="module")
def url(issued: Certificates, folder: Path) -> Iterator[str]:
    """host:port of the proxy, in front of a toy server without TLS."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    settings = toy_settings(folder, environment={"TOY_EVENTS": str(folder / "events.jsonl")})
    with TritonServer(settings) as server:
        server.wait_ready()
        with nginx(configuration(server, issued, port, folder), folder, port):
            yield f"{HOST}:{port}"


@pytest.fixture
def own(issued: Certificates) -> Tls:
    return Tls(issued.pem("servers"), *issued.pair("client"))


def test_speech_comes_through(url: str, own: Tls, folder: Path) -> None:
    with SpeechClient(url, tls=own) as client:
        assert client.speak(Utterance("one two")).size == 2 * PACKET
        packets = client.stream(Utterance("one wait:gate two"), timeout=HANG_S)
        assert next(packets).size == PACKET, "it comes before the next word is spoken"
        (folder / "gate").touch()
        assert sum(packet.size for packet in packets) == PACKET


def test_who_has_no_certificate_does_not_speak(url: str, issued: Certificates) -> None:
    tls = Tls(issued.pem("servers"))
    with SpeechClient(url, tls=tls) as client, pytest.raises(SpeechError, match="status: 400"):
        client.speak(Utterance("one"))


def test_metadata_that_can_crash_triton_do_not_get_through(url: str, own: Tls) -> None:
    """With them the call would end with a status, in place of a message in the stream."""
    request = infer_request(Utterance("fail"), "cosyvoice2")
    with grpc.secure_channel(url, own.credentials()) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        metadata = [("triton_grpc_error", "true")]
        (message,) = stub.ModelStreamInfer(iter([request]), metadata=metadata, timeout=HANG_S)
    assert message.error_message == "target_text: it says fail"


@pytest.mark.parametrize("path", ["/v2/repository/index", "/v2/logging", "/v2/trace/setting", "/"])
def test_administrative_paths_do_not_get_through(url: str, own: Tls, path: str) -> None:
    assert fetch(f"https://{url}/v2/health/ready", tls=own.context()).status == 200
    assert fetch(f"https://{url}{path}", tls=own.context()).status == 404


def test_the_monitor_over_tls(url: str, issued: Certificates, capsys) -> None:
    files = ["--ca", str(issued.pem("servers"))]
    files += ["--cert", str(issued.pem("client")), "--key", str(issued.key("client"))]
    where = ["--url", f"https://{url}", "--metrics-url", f"https://{url}/metrics"]
    assert cli.main(["top", *where, *files, "--count", "1", "--json"]) == 0
    seen = json.loads(capsys.readouterr().out)
    assert seen["ready"] is True and seen["models"]["cosyvoice2"]["state"] == "READY"
