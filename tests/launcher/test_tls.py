"""A server's certificates are looked at before it starts."""

import subprocess
from pathlib import Path

import pytest
from certificates import Certificates
from toy_server import free_ports

from tritone import cli
from tritone.errors import EnvironmentProblem
from tritone.launcher import ServerSettings
from tritone.launcher.tls import ServerTls


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def refusal(tls: ServerTls) -> str:
    with pytest.raises(EnvironmentProblem) as caught:
        tls.check()
    (line,) = str(caught.value).splitlines()
    return line


def test_what_can_be_served(issued: Certificates) -> None:
    plain = ServerTls(*issued.pair("server"))
    plain.check()
    assert "--grpc-use-ssl=true" in plain.arguments()
    mutual = ServerTls(*issued.pair("server"), issued.pem("clients"))
    mutual.check()
    assert "--grpc-use-ssl-mutual=true" in mutual.arguments()
    assert f"--grpc-root-cert={issued.pem('clients')}" in mutual.arguments()


def test_where_the_ports_are(issued: Certificates) -> None:
    """Beside TLS plain HTTP leaves this machine only where its address is named."""
    tls = ServerTls(*issued.pair("server"))

    def places(**settings: object) -> tuple[str, ...]:
        return tuple(ServerSettings(**settings).addresses.values())

    everywhere, here = "0.0.0.0", "127.0.0.1"
    assert places() == (here, here, here)
    assert places(address=everywhere) == (everywhere, everywhere, everywhere)
    assert places(address=everywhere, tls=tls) == (here, everywhere, here)
    assert places(address="10.0.0.1", tls=tls, http_address=everywhere) == (
        everywhere,
        "10.0.0.1",
        everywhere,
    )


@pytest.mark.parametrize(
    "name, said", [("ended", "certificate has expired"), ("to come", "not yet valid")]
)
def test_a_certificate_out_of_its_time(issued: Certificates, name: str, said: str) -> None:
    line = refusal(ServerTls(*issued.pair(name)))
    assert line.startswith(f"--tls-cert: {issued.pem(name)}: ") and said in line
    assert "openssl x509" in line


def test_a_key_that_is_another_certificates(issued: Certificates) -> None:
    line = refusal(ServerTls(issued.pem("server"), issued.key("client")))
    assert line.startswith(f"--tls-key: {issued.key('client')} is not the key of ")


def test_a_key_with_a_passphrase(issued: Certificates, tmp_path: Path) -> None:
    locked = tmp_path / "locked.key"
    lock = ["openssl", "pkey", "-aes128", "-passout", "pass:x", "-out", str(locked)]
    subprocess.run([*lock, "-in", str(issued.key("server"))], check=True)
    assert refusal(ServerTls(issued.pem("server"), locked)).startswith(
        f"--tls-key: {locked} has a passphrase; "
    )


@pytest.mark.parametrize("option", ["cert", "key", "client_ca"])
@pytest.mark.parametrize("content", [None, "no PEM"])
def test_a_file_that_is_missing_or_something_else(
    issued: Certificates, tmp_path: Path, option: str, content: str | None
) -> None:
    bad = tmp_path / "bad"
    if content is not None:
        bad.write_text(content)
    files = {"cert": issued.pem("server"), "key": issued.key("server"), option: bad}
    line = refusal(ServerTls(**files))
    assert line.startswith(f"--tls-{option.replace('_', '-')}: {bad}")
    assert content or "No such file" in line


def test_an_authority_that_is_none(issued: Certificates) -> None:
    line = refusal(ServerTls(*issued.pair("server"), issued.pem("client")))
    assert line.startswith(f"--tls-client-ca: {issued.pem('client')} holds no certificate of an a")


@pytest.mark.parametrize(
    "options, said",
    [
        (["--tls-cert", "a.pem"], "--tls-cert and --tls-key belong together"),
        (["--tls-client-ca", "a.pem"], "--tls-client-ca needs --tls-cert"),
        (["--tls-cert", "a.pem", "--tls-key", "a.key"], "--tls-cert: a.pem: No such file"),
        (["--admin-key-file", "a.key"], "--admin-key-file: a.key: No such file"),
    ],
)
def test_serve_refuses_in_one_line(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--cache-dir", str(tmp_path), "--port-base", str(free_ports()["http_port"])]
    assert cli.main(["serve", "--no-gateway", *options, *where]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {said}")
