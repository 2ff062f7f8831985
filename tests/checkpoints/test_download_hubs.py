"""The hubs' real libraries against a small server that answers as the two hubs do."""

import errno
import hashlib
import importlib.util
import json
import random
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tritone.checkpoints.hub import (
    Hub,
    HubFailed,
    HuggingFace,
    ModelScope,
    failure,
    optional_library,
)
from tritone.checkpoints.release import ReleaseFile

DATA = random.Random(1).randbytes(24 << 20)  # more than the libraries' blocks of 10 MB
SHA256 = hashlib.sha256(DATA).hexdigest()
FILE = ReleaseFile("part/llm.pt", len(DATA), SHA256)
REPO, COMMIT = "Fun/Tiny-0.5B", "eec1ae6c79877dbd9379285cf8789c9e0879293d"


class Handler(BaseHTTPRequestHandler):
    """GET of a model's file list and of one file's bytes, in the form of either hub."""

    protocol_version = "HTTP/1.1"
    server: "HubServer"

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        if "internalAccelerationInfo" in url.path:
            return self.reply(404)
        self.server.ranges.append(self.headers.get("Range"))
        if self.server.status:
            return self.reply(self.server.status, self.server.body)
        if url.path == f"/api/models/{REPO}/revision/{COMMIT}" and query["blobs"]:
            lfs = {"sha256": SHA256, "size": len(DATA), "pointerSize": 134}
            names = [{"rfilename": FILE.name, "size": len(DATA), "blobId": "0" * 40, "lfs": lfs}]
            names.append({"rfilename": "a.json", "size": 2, "blobId": "1" * 40})
            return self.reply_json({"id": REPO, "sha": COMMIT, "siblings": names})
        if url.path == f"/api/v1/models/{REPO}/repo/files" and query["Revision"] == ["master"]:
            entry = {"Path": FILE.name, "Size": len(DATA), "Sha256": SHA256, "Type": "blob"}
            return self.reply_json(
                {"Code": 200, "Data": {"Files": [entry, {"Path": "part", "Type": "tree"}]}}
            )
        if url.path == f"/{REPO}/resolve/{COMMIT}/{FILE.name}":
            return self.reply_bytes()
        if url.path == f"/api/v1/models/{REPO}/repo" and query["FilePath"] == [FILE.name]:
            return self.reply_bytes()
        return self.reply(404, b'{"Message": "not there", "error": "not there"}')

    def reply_json(self, value: object) -> None:
        self.reply(200, json.dumps(value).encode())

    def reply_bytes(self) -> None:
        """The file from where the range starts; `interrupt` stops the client in the middle."""
        start = int((self.headers.get("Range") or "bytes=0-")[6:].split("-")[0])
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(DATA) - 1}/{len(DATA)}")
        self.send_header("Content-Length", str(len(DATA) - start))
        self.end_headers()
        if self.server.interrupt is None:
            self.wfile.write(DATA[start:])
            return
        self.wfile.write(DATA[start : len(DATA) * 3 // 4])
        self.server.interrupt()
        self.close_connection = True

    def reply(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class HubServer(ThreadingHTTPServer):
    """status and body: the answer to everything. interrupt: called in the middle of a file."""

    daemon_threads = True
    status = 0
    body = b'{"Message": "no", "error": "no"}'
    interrupt: Callable[[], None] | None = None

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.ranges: list[str | None] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    for name in ("MODELSCOPE_HOME", "MODELSCOPE_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with HubServer() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(params=["huggingface", "modelscope"])
def hub(request: pytest.FixtureRequest, server: HubServer) -> Hub:
    pytest.importorskip("huggingface_hub" if request.param == "huggingface" else "modelscope_hub")
    kind = HuggingFace if request.param == "huggingface" else ModelScope
    return kind(server.url)


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The libraries try again some times, with growing pauses."""
    monkeypatch.setattr(time, "sleep", lambda _: None)
    if importlib.util.find_spec("modelscope_hub"):
        monkeypatch.setattr("modelscope_hub._download.DOWNLOAD_RETRY_TIMES", 0, raising=False)


def revision(hub: Hub) -> str:
    return COMMIT if isinstance(hub, HuggingFace) else "master"


def test_the_list_of_files(hub: Hub) -> None:
    listing = hub.list_files(REPO, revision(hub))
    assert listing.files[FILE.name] == FILE
    if isinstance(hub, HuggingFace):
        assert listing.commit == COMMIT
        assert listing.files["a.json"] == ReleaseFile("a.json", 2, None)
    else:
        assert listing.commit is None and set(listing.files) == {FILE.name}


def test_a_file_arrives_whole(hub: Hub, tmp_path: Path) -> None:
    hub.fetch(REPO, revision(hub), FILE, tmp_path / "staging")
    assert (tmp_path / "staging" / FILE.name).read_bytes() == DATA
    assert [p.name for p in (tmp_path / "staging" / "part").iterdir()] == ["llm.pt"]


def test_a_stopped_file_goes_on_where_it_was(hub: Hub, server: HubServer, tmp_path: Path) -> None:
    """Ctrl-C in the middle: the name does not appear, what came stays and is not asked again."""

    def arrived() -> int:
        return sum(p.stat().st_size for p in (tmp_path / "part").glob("*") if p.is_file())

    def press_ctrl_c() -> None:
        while not arrived():
            time.sleep(0.01)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    server.interrupt = press_ctrl_c
    with pytest.raises(KeyboardInterrupt):
        hub.fetch(REPO, revision(hub), FILE, tmp_path)
    server.interrupt = None
    before = arrived()
    assert 0 < before < len(DATA) and not (tmp_path / FILE.name).exists()
    hub.fetch(REPO, revision(hub), FILE, tmp_path)
    assert (tmp_path / FILE.name).read_bytes() == DATA
    assert server.ranges[-1] == f"bytes={before}-"


def test_a_partial_file_that_is_too_long_is_dropped(server: HubServer, tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "llm.pt.partial").write_bytes(DATA + b"x")
    HuggingFace(server.url).fetch(REPO, COMMIT, FILE, tmp_path)
    assert (tmp_path / FILE.name).read_bytes() == DATA


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize(
    ("status", "step"),
    [
        (401, "log in (HF_TOKEN, MODELSCOPE_API_TOKEN)"),
        (403, "log in (HF_TOKEN, MODELSCOPE_API_TOKEN)"),
        (404, "no such repository, revision or file: check --revision"),
        (429, "too many requests"),
        (500, "run again later or use the other --source"),
    ],
)
def test_a_refusal_is_one_line_with_the_next_step(
    hub: Hub, server: HubServer, tmp_path: Path, status: int, step: str
) -> None:
    server.status = status
    for what, call in (
        (REPO, lambda: hub.list_files(REPO, revision(hub))),
        (FILE.name, lambda: hub.fetch(REPO, revision(hub), FILE, tmp_path)),
    ):
        with pytest.raises(HubFailed) as raised:
            call()
        message = str(raised.value)
        assert message.startswith(f"{hub.title}: {what}") and "\n" not in message
        assert f"HTTP {status}; " in message and step in message
    assert not (tmp_path / FILE.name).exists()


@pytest.mark.parametrize("body", [b"<html>Log in to the hotel's network</html>", b"{}"])
def test_an_answer_that_is_no_hubs(hub: Hub, server: HubServer, body: bytes) -> None:
    server.status, server.body = 200, body
    if isinstance(hub, ModelScope) and body == b"{}":
        assert hub.list_files(REPO, "master").files == {}
        return
    with pytest.raises(HubFailed, match="check the network") as raised:
        hub.list_files(REPO, revision(hub))
    assert "\n" not in str(raised.value)


def test_an_unknown_revision_is_a_404(hub: Hub) -> None:
    with pytest.raises(HubFailed, match="at nowhere: HTTP 404; no such repository, revision"):
        hub.list_files(REPO, "nowhere")


@pytest.mark.usefixtures("no_waiting")
def test_no_network(hub: Hub, server: HubServer, tmp_path: Path) -> None:
    server.socket.close()
    for call in (
        lambda: hub.list_files(REPO, revision(hub)),
        lambda: hub.fetch(REPO, revision(hub), FILE, tmp_path),
    ):
        with pytest.raises(HubFailed) as raised:
            call()
        message = str(raised.value)
        assert re.search("Connection (refused|reset by peer); check the network", message)
        assert "\n" not in message


def test_the_proxy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    error = ConnectionError("refused")
    assert "set HTTPS_PROXY where it needs" in str(failure("Hub", "llm.pt", error))
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@proxy:3128")
    message = str(failure("Hub", "llm.pt", error))
    assert "the proxy of HTTPS_PROXY, then run again" in message and "secret" not in message


def test_an_error_of_this_disk_is_not_blamed_on_the_hub() -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(OSError, match="No space left"):
        failure("Hub", "llm.pt", full)


def test_a_library_that_is_not_installed() -> None:
    with pytest.raises(HubFailed, match=r"^Hub: .* no_such_library .*'tritone\[download\]'$"):
        optional_library("no_such_library.part", "Hub")
