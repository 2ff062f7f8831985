"""A server that answers the HTTP questions of a Triton server as it is told to."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType


class FakeTriton:
    """states: model -> state and reason. has_index: whether it tells clients of all its models,
    which one that this project starts does not."""

    def __init__(
        self, states: dict[str, tuple[str, str]], port: int, *, has_index: bool = True
    ) -> None:
        self._states, self._has_index = states, has_index
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(*outer.get(self.path))

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self._answer(*outer.post(self.path))

            def _answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Silent."""

        self._http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))

    def get(self, path: str) -> tuple[int, bytes]:
        if path == "/v2/health/live":
            return 200, b""
        if path == "/v2/health/ready":
            return (200 if all(s == "READY" for s, _ in self._states.values()) else 400), b""
        _, _, kind, name, _ = path.split("/")
        ready = kind == "models" and self._states.get(name, ("", ""))[0] == "READY"
        return (200 if ready else 400), b""

    def post(self, path: str) -> tuple[int, bytes]:
        if path != "/v2/repository/index" or not self._has_index:
            return 403, b'{"error":"This API is restricted"}'
        entries = [
            {"name": name, "version": "1", "state": state, "reason": reason}
            for name, (state, reason) in self._states.items()
        ]
        return 200, json.dumps(entries).encode()

    def __enter__(self) -> "FakeTriton":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()
