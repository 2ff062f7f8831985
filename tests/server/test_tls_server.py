"""TLS and mutual TLS: the real server, and what its clients are told when they may not speak."""

import asyncio
import dataclasses
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import psutil
import pytest
from certificates import HOST, Certificates
from serving import RATE
from toy_server import PACKET, toy_settings
from waiting import HANG_S

from tritone import cli
from tritone.cli.server_speech import speech
from tritone.diagnostics.doctor.target import Target
from tritone.launcher import ServerSettings, TritonServer
from tritone.launcher.speaker import speaker
from tritone.launcher.tls import ServerTls
from tritone.launcher.warm_up import warm_up
from tritone_client import AsyncSpeechClient, SpeechClient, SpeechError, Tls, Utterance

server_test = pytest.mark.server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def issued(folder: Path) -> Certificates:
    return Certificates(folder)


@contextmanager
def running(settings: ServerSettings) -> Iterator[TritonServer]:
    with TritonServer(settings) as server:
        server.wait_ready()
        yield server


@pytest.fixture(scope="module")
def one_sided(issued: Certificates, folder: Path) -> Iterator[TritonServer]:
    """The server alone has a certificate."""
    tls = ServerTls(*issued.pair("server"))
    with running(toy_settings(folder / "cache", address=HOST, tls=tls)) as server:
        yield server


@pytest.fixture(scope="module")
def mutual(issued: Certificates, folder: Path) -> Iterator[TritonServer]:
    """Clients need one too."""
    tls = ServerTls(*issued.pair("server"), issued.pem("clients"))
    with running(toy_settings(folder / "cache", address=HOST, tls=tls)) as server:
        yield server


def refusal(url: str, tls: Tls | None) -> str:
    """What both clients are told."""

    async def ask() -> str:
        async with AsyncSpeechClient(url, tls=tls) as client:
            with pytest.raises(SpeechError) as caught:
                await client.speak(Utterance("one"))
        return str(caught.value)

    with SpeechClient(url, tls=tls) as client, pytest.raises(SpeechError) as caught:
        client.speak(Utterance("one"))
    assert caught.value.status == "UNAVAILABLE"
    assert asyncio.run(ask()).partition("(")[0] == str(caught.value).partition("(")[0]
    return str(caught.value)


def size(url: str, tls: Tls) -> int:
    async def speak() -> int:
        async with AsyncSpeechClient(url, tls=tls) as client:
            return (await client.speak(Utterance("one two"))).size

    with SpeechClient(url, tls=tls) as client:
        blocking = client.speak(Utterance("one two")).size
    assert asyncio.run(speak()) == blocking
    return blocking


@server_test
def test_speech_over_tls(one_sided: TritonServer, issued: Certificates) -> None:
    assert size(one_sided.urls.grpc, Tls(issued.pem("servers"))) == 2 * PACKET


@server_test
def test_beside_tls_nothing_plain_leaves_the_machine(one_sided: TritonServer) -> None:
    listening = {
        connection.laddr.port: connection.laddr.ip.removeprefix("::ffff:")
        for connection in psutil.Process(one_sided.pid).net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    ports = one_sided.settings.ports
    assert listening == {
        ports["http"]: "127.0.0.1",
        ports["grpc"]: HOST,
        ports["metrics"]: "127.0.0.1",
    }


@server_test
def test_another_authority_and_no_tls_at_all(one_sided: TritonServer, issued: Certificates) -> None:
    url = one_sided.urls.grpc
    foreign = refusal(url, Tls(issued.pem("clients")))
    assert f"the authorities in {issued.pem('clients')} did not sign the server's cert" in foreign
    assert "a server that speaks TLS hangs up like this: name its authority" in refusal(url, None)


@server_test
def test_mutual_tls_takes_its_own_clients_alone(mutual: TritonServer, issued: Certificates) -> None:
    url, ca = mutual.urls.grpc, issued.pem("servers")
    assert size(url, Tls(ca, *issued.pair("client"))) == 2 * PACKET
    assert "the server wants a certificate of this client; give one (--cert" in refusal(
        url, Tls(ca)
    )
    strange = refusal(url, Tls(ca, *issued.pair("stranger")))
    assert f"the server does not accept {issued.pem('stranger')}: its authority did not" in strange


@server_test
def test_the_launcher_speaks_to_a_server_with_mutual_tls(mutual: TritonServer) -> None:
    speak = speaker(mutual.urls.http, mutual.settings.public, RATE)
    assert warm_up(speak, ["anyone"])[0] == ["anyone"]


@server_test
def test_the_commands(mutual: TritonServer, issued: Certificates, tmp_path: Path, capsys) -> None:
    files = ["--ca", str(issued.pem("servers"))]
    own = [*files, "--cert", str(issued.pem("client")), "--key", str(issued.key("client"))]
    url, wave = ["--url", mutual.urls.grpc], tmp_path / "said.wav"
    assert cli.main(["say", "one two", *url, *own, "-o", str(wave)]) == 0
    assert wave.stat().st_size == 44 + 2 * 2 * PACKET
    assert cli.main(["say", "one two", *url, *files, "-o", str(wave)]) == 3
    load = ["--text", "one", "--requests", "2", "--warmup", "0", "--json", str(tmp_path / "f.json")]
    assert cli.main(["bench", *url, *own, *load]) == 0
    (level,) = json.loads((tmp_path / "f.json").read_text())["levels"]
    assert level["completed"] == 2
    capsys.readouterr()


@server_test
def test_an_ended_certificate_of_the_server(issued: Certificates, folder: Path) -> None:
    """The launcher refuses it, so this server is told by hand, as one that has run for long."""
    arguments = tuple(ServerTls(*issued.pair("ended")).arguments())
    settings = dataclasses.replace(
        toy_settings(folder / "cache", address=HOST), arguments=arguments
    )
    with running(settings) as server:
        told = refusal(server.urls.grpc, Tls(issued.pem("servers")))
    assert "the server's certificate has expired; renew it there" in told


@contextmanager
def foreign_server(credentials: grpc.ServerCredentials | None) -> Iterator[str]:
    """The address of a gRPC server that only shakes hands."""
    server = grpc.server(ThreadPoolExecutor(1))
    if credentials is None:
        port = server.add_insecure_port(f"{HOST}:0")
    else:
        port = server.add_secure_port(f"{HOST}:0", credentials)
    server.start()
    yield f"{HOST}:{port}"
    server.stop(None).wait(HANG_S)


@pytest.mark.parametrize(
    "name, said",
    [
        ("elsewhere", "certificate is for another name than --url has"),
        ("to come", "certificate is not valid yet; compare the clocks"),
        (None, "what listens there speaks no TLS; leave --tls"),
    ],
)
def test_other_handshakes_that_fail(issued: Certificates, name: str | None, said: str) -> None:
    credentials = None
    if name is not None:
        cert, key = issued.pair(name)
        credentials = grpc.ssl_server_credentials([(key.read_bytes(), cert.read_bytes())])
    with foreign_server(credentials) as url:
        assert said in refusal(url, Tls(issued.pem("servers")))


@pytest.mark.parametrize(
    "names, said",
    [
        ({"ca": "server.key"}, "ca: .*server.key holds no certificate"),
        ({"ca": "none.pem"}, "No such file or directory: .*none.pem"),
        ({"cert": "client.pem"}, "cert and key of a client belong together"),
        ({"cert": "client.pem", "key": "server.key"}, "client.pem and .*server.key are no pair"),
    ],
)
def test_files_of_a_client_that_cannot_be_used(
    issued: Certificates, folder: Path, names: dict[str, str], said: str
) -> None:
    files = {option: folder / name for option, name in names.items()}
    with pytest.raises((OSError, ValueError), match=said):
        SpeechClient(tls=Tls(**files))
    with pytest.raises(SystemExit) as ended:
        words = [word for option, file in files.items() for word in (f"--{option}", str(file))]
        cli.main(["say", "one", *words])
    assert ended.value.code == 2


@server_test
def test_the_doctor_over_tls(one_sided: TritonServer, issued: Certificates) -> None:
    ports = {f"{service}_port": port for service, port in one_sided.settings.ports.items()}
    tls = {"ca": str(issued.pem("servers"))}
    target = Target(address=HOST, tls=tls, **ports)
    assert "0.8 s at -15 dBFS; first packet" in speech(target).text, "it has heard the toy's tone"
    plain = dataclasses.replace(target, tls={}, http_address="127.0.0.1")
    assert "a server that speaks TLS" in speech(plain).text
