"""The keys of a server: the administrative protocols', with who gets to see it, and the inner
models'."""

import http.server
import threading
from pathlib import Path

import pytest

from tritone.errors import EnvironmentProblem
from tritone.launcher import ServerSettings, TritonServer
from tritone.launcher.admin_key import PROTOCOLS, AdminKey
from tritone.launcher.drain import ask


def test_every_server_has_a_key_of_its_own() -> None:
    keys = [AdminKey(), AdminKey()]
    values = {key.headers["tritone-admin-key"] for key in keys}
    assert len(values) == 2 and min(map(len, values)) >= 32
    (value,) = keys[0].headers.values()
    restriction = f"model-repository,shared-memory,trace,logging:tritone-admin-key={value}"
    assert keys[0].arguments() == [
        f"--http-restricted-api={restriction}",
        f"--grpc-restricted-protocol={restriction}",
    ]
    assert not {"health", "metadata", "inference", "statistics", "model-config"} & {*PROTOCOLS}


def test_the_operators_own(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("0123456789abcdef-_XYZ\n")
    assert AdminKey(file).headers == {"tritone-admin-key": "0123456789abcdef-_XYZ"}


@pytest.mark.parametrize(
    "content", ["", "short", "with a space 0123456789", "a,b=0123456789abcdef"]
)
def test_a_file_that_holds_no_key(tmp_path: Path, content: str) -> None:
    """A comma or an equals sign would end the key in Triton's own syntax."""
    file = tmp_path / "key"
    file.write_text(content)
    with pytest.raises(EnvironmentProblem, match="openssl rand -hex 24") as caught:
        AdminKey(file).arguments()
    assert str(caught.value).startswith(f"--admin-key-file: {file} holds {len(content)} char")
    assert not content or content not in str(caught.value)


def test_the_key_of_the_inner_models(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("0123456789abcdef\n")
    assert len({TritonServer(ServerSettings()).inner_key for _ in range(2)}) == 2
    assert TritonServer(ServerSettings(inner_key_file=file)).inner_key == "0123456789abcdef"
    assert TritonServer(ServerSettings(open_inner_models=True)).inner_key == ""
    both = TritonServer(ServerSettings(inner_key_file=file, open_inner_models=True))
    with pytest.raises(EnvironmentProblem, match="leave one out"):
        _ = both.inner_key


def test_no_proxy_of_the_environment_sees_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.path.encode())

        def log_message(self, *_: object) -> None:
            """Silent."""

    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        assert ask(f"http://127.0.0.1:{server.server_port}/v2/health/ready") == b"/v2/health/ready"
        thread.join()
