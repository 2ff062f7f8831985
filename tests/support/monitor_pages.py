"""Metrics pages as Triton writes them, and servers that answer with them."""

import io
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from rich.console import Console, RenderableType

from tritone.diagnostics.monitor.observer import Snapshot
from tritone.diagnostics.monitor.view import screen

BOUNDS = (0.1, 0.2, 0.5, 1.0)
GIB = 2**30
HEALTHY = {"/v2/health/live": b"", "/v2/health/ready": b""}


def printed(renderable: RenderableType, columns: int) -> str:
    """What stands on a terminal that is so wide, without colours."""
    out = io.StringIO()
    Console(file=out, width=columns).print(renderable)
    return out.getvalue()


def drawn(snapshot: Snapshot) -> list[str]:
    """The lines of the monitor's screen on a wide terminal."""
    return [line.rstrip() for line in printed(screen(snapshot), columns=200).splitlines()]


def metrics(
    requests: int = 0, *, firsts: tuple[int, ...] = (0, 0, 0, 0, 0), busy_s: float = 0
) -> str:
    """A page as Triton writes it. firsts: how many first packets fell into each bucket."""
    counts = np.cumsum(firsts)
    buckets = "\n".join(
        f'tritone_first_packet_seconds_bucket{{le="{bound}"}} {count}'
        for bound, count in zip([*BOUNDS, "+Inf"], counts, strict=True)
    )
    parts = "\n".join(
        f'tritone_part_seconds_count{{part="{part}"}} {requests}\n'
        f'tritone_part_seconds_sum{{part="{part}"}} {busy_s * share}\n'
        f'tritone_part_seconds_bucket{{part="{part}",le="+Inf"}} {requests}'
        for part, share in (("flow", 0.75), ("vocoder", 0.25))
    )
    return f"""\
# HELP nv_inference_request_success Number of successful inference requests, all batch sizes
# TYPE nv_inference_request_success counter
nv_inference_request_success{{model="vocoder",version="1"}} 7
nv_inference_request_success{{model="cosyvoice2",version="1"}} {requests}
# HELP nv_gpu_utilization GPU utilization rate [0.0 - 1.0)
# TYPE nv_gpu_utilization gauge
nv_gpu_utilization{{gpu_uuid="GPU-1"}} 0.5
nv_gpu_utilization{{gpu_uuid="GPU-2"}} nan
# HELP nv_gpu_memory_total_bytes GPU total memory, in bytes
# TYPE nv_gpu_memory_total_bytes gauge
nv_gpu_memory_total_bytes{{gpu_uuid="GPU-1"}} {80 * GIB}
nv_gpu_memory_total_bytes{{gpu_uuid="GPU-2"}} {80 * GIB}
# HELP tritone_streams Streams being spoken
# TYPE tritone_streams gauge
tritone_streams 3
# HELP tritone_stream_places Streams that would be taken at a time
# TYPE tritone_stream_places gauge
tritone_stream_places 14
# HELP tritone_requests_total Requests that ended
# TYPE tritone_requests_total counter
tritone_requests_total{{outcome="ok"}} {requests}
tritone_requests_total{{outcome="failed"}} 1
# HELP tritone_first_packet_seconds Arrival to first packet
# TYPE tritone_first_packet_seconds histogram
tritone_first_packet_seconds_count {counts[-1]}
tritone_first_packet_seconds_sum 1.5
{buckets}
# HELP tritone_part_seconds Parts of a request's time
# TYPE tritone_part_seconds histogram
{parts}
"""


class Routes:
    """An HTTP server that answers these paths; the rest are 404."""

    def __init__(self, routes: dict[str, bytes]) -> None:
        self.routes = routes
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = outer.routes.get(self.path)
                self.send_response(404 if body is None else 200)
                self.end_headers()
                self.wfile.write(body or b"")

            do_POST = do_GET

            def log_message(self, *_: object) -> None:
                """Silent."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"127.0.0.1:{self.http.server_address[1]}"


@contextmanager
def answering(routes: dict[str, bytes]) -> Iterator[Routes]:
    """A running server of these routes, which may be changed."""
    server = Routes(routes)
    thread = threading.Thread(target=server.http.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        thread.join()
        server.http.server_close()


@contextmanager
def babbling() -> Iterator[str]:
    """host:port of one who says something else than HTTP, as Triton's gRPC port does, once."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def babble() -> None:
            with listener.accept()[0] as connection:
                connection.sendall(b"\x00\x00\x18\x04 hello\r\n")
                connection.recv(1000)

        thread = threading.Thread(target=babble)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        thread.join()
