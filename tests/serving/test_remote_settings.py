"""Where another server's language model is: what cannot be meant is refused by name."""

from pathlib import Path

import pytest
from certificates import Certificates

from tritone.errors import EnvironmentProblem
from tritone.serving.remote_settings import RemoteSettings


@pytest.mark.parametrize("url", ["llm:8001", "127.0.0.1:1", "[::1]:65535", "llm-0.llm.svc:8001"])
def test_addresses(url: str) -> None:
    assert RemoteSettings(url).url == url


@pytest.mark.parametrize(
    "url",
    ["", "llm", "llm:", ":8001", "llm:0", "llm:65536", "http://llm:8001", "llm:8001/", "a b:1"],
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(EnvironmentProblem, match=r"^parameter url of tensorrt_llm: .*HOST:PORT"):
        RemoteSettings(url)


def test_what_is_written_for_the_runtime_here_is_left_out() -> None:
    given = {"url": "llm:1", "deadline_seconds": "2.5", "precision": "int8"}
    assert RemoteSettings.of(given, ["url"]) == RemoteSettings("llm:1", deadline_seconds=2.5)


def test_what_was_chosen_for_it_has_no_meaning() -> None:
    given = {"url": "llm:1", "precision": "int8"}
    with pytest.raises(EnvironmentProblem, match=r"parameter precision of .* has no meaning where"):
        RemoteSettings.of(given, given)


def test_seconds_that_are_no_number() -> None:
    with pytest.raises(EnvironmentProblem, match="deadline_seconds of tensorrt_llm: 'long': it mu"):
        RemoteSettings.of({"url": "llm:1", "deadline_seconds": "long"}, [])


@pytest.mark.parametrize(
    ("named", "problem"),
    [
        ({"deadline_seconds": 0.0}, "deadline_seconds"),
        ({"deadline_seconds": float("nan")}, "deadline_seconds"),
        ({"deadline_seconds": float("inf")}, "deadline_seconds"),
        ({"tls_ca": "ca.pem", "tls_cert": "cert.pem"}, "tls_cert .*: and tls_key are a pair"),
        ({"tls_cert": "cert.pem", "tls_key": "key.pem"}, "tls_cert .* needs tls_ca"),
    ],
)
def test_what_cannot_be_meant(named: dict, problem: str) -> None:
    with pytest.raises(EnvironmentProblem, match=f"^parameter {problem}"):
        RemoteSettings("llm:1", **named)


def test_a_key_file_without_a_key_is_named_and_not_quoted(tmp_path: Path) -> None:
    file = tmp_path / "key"
    with pytest.raises(EnvironmentProblem, match=f"key_file of tensorrt_llm: {file}: No such file"):
        _ = RemoteSettings("llm:1", str(file)).key
    file.write_text("two words")
    with pytest.raises(EnvironmentProblem, match="9 characters that are no key") as caught:
        _ = RemoteSettings("llm:1", str(file)).key
    assert "two" not in str(caught.value)
    assert RemoteSettings("llm:1").key == ""


def test_files_that_are_no_certificates_are_named(tmp_path: Path) -> None:
    issued, missing = Certificates(tmp_path), str(tmp_path / "missing")
    authorities, (cert, key) = str(issued.pem("servers")), map(str, issued.pair("client"))
    RemoteSettings("llm:1", tls_ca=authorities, tls_cert=cert, tls_key=key).channel().close()
    with pytest.raises(EnvironmentProblem, match=f"tls_ca of .* {missing}: No such file"):
        RemoteSettings("llm:1", tls_ca=missing).channel()
    with pytest.raises(EnvironmentProblem, match=r"tls_ca of .* a PEM file is needed"):
        RemoteSettings("llm:1", tls_ca=key).channel()
    another = str(issued.key("stranger"))
    with pytest.raises(EnvironmentProblem, match=f"tls_cert of .* with tls_key {another}"):
        RemoteSettings("llm:1", tls_ca=authorities, tls_cert=cert, tls_key=another).channel()
