"""OpenTelemetry through Triton: a collector gets the span of a request, under the client's id."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from paths import EMBEDDED, PROJECT
from serving import SHORT, is_speech
from toy_server import free_ports
from waiting import HANG_S

from tritone.launcher import ServerSettings, TritonServer
from tritone_client import SpeechClient, Utterance

pytestmark = pytest.mark.server


class Collector:
    """Takes OTLP over HTTP, as JSON."""

    def __init__(self) -> None:
        self.spans: list[dict] = []
        self.arrived = threading.Condition()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                collector.take(body)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def take(self, body: dict) -> None:
        scopes = [scope for resource in body["resourceSpans"] for scope in resource["scopeSpans"]]
        with self.arrived:
            self.spans += [span for scope in scopes for span in scope["spans"]]
            self.arrived.notify_all()

    def attributes(self, name: str) -> dict[str, str]:
        """Of the span of this name, once it has arrived."""

        def named() -> list[dict]:
            return [span for span in self.spans if span["name"] == name]

        with self.arrived:
            assert self.arrived.wait_for(named, HANG_S), [span["name"] for span in self.spans]
            pairs = named()[0]["attributes"]
        return {pair["key"]: next(iter(pair["value"].values())) for pair in pairs}


@pytest.fixture
def collector() -> Iterator[Collector]:
    collecting = Collector()
    thread = threading.Thread(target=collecting.server.serve_forever)
    thread.start()
    yield collecting
    collecting.server.shutdown()
    thread.join()
    collecting.server.server_close()


def test_a_traced_request_is_spoken_and_its_span_has_its_id(
    collector: Collector, tmp_path: Path
) -> None:
    url = f"http://127.0.0.1:{collector.server.server_port}/v1/traces"
    settings = ServerSettings(
        PROJECT / "model_repo",
        PROJECT / ".triton",
        model_dir=EMBEDDED,
        cache_dir=tmp_path,
        arguments=(
            "--trace-config=mode=opentelemetry",
            "--trace-config=level=TIMESTAMPS",
            "--trace-config=rate=1",
            f"--trace-config=opentelemetry,url={url}",
            "--trace-config=opentelemetry,bsp_schedule_delay=200",
        ),
        **free_ports(),
    )
    with TritonServer(settings) as server:
        server.wait_ready()
        with SpeechClient(server.urls.grpc) as client:
            packets = list(client.packets(Utterance(SHORT), request_id="call-7", timing=True))
            assert is_speech(client.speak(Utterance(SHORT)))  # and the server still stands
        attributes = collector.attributes("cosyvoice2")
    assert attributes["triton.request_id"] == packets[-1].timing["id"] == "call-7"
