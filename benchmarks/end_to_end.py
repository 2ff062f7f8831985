"""One sentence from text to samples, in this process and through Triton, in turn."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil

import tritone
from benchmarks.figures import Figure, figure
from tritone.launcher import ServerSettings, TritonServer
from tritone.launcher.ports import free_ports
from tritone.llm.contract import SamplingParams
from tritone_client import SpeechClient, Utterance
from tritone_client.metrics import StreamMeter, StreamMetrics

PATIENCE_S = 3600.0  # with a server that is many times slower than its speech

Speak = Callable[[int], StreamMetrics]
"""Speaks the sentence with a seed."""


@contextmanager
def in_process(model: Path, text: str) -> Iterator[Speak]:
    with tritone.load(model) as tts:
        yield speaker(tts, text)


def speaker(tts: tritone.TTS, text: str) -> Speak:
    def speak(seed: int) -> StreamMetrics:
        meter = StreamMeter(tts.sample_rate)
        for chunk in tts.stream(text, sampling=SamplingParams(seed=seed)):
            meter.packet(chunk.samples)
        return meter.finish()

    return speak


@contextmanager
def served(model: Path, text: str) -> Iterator[Speak]:
    with _running(model) as server, SpeechClient(server.urls.grpc) as client:

        def speak(seed: int) -> StreamMetrics:
            meter = StreamMeter(client.sample_rate)
            for samples in client.stream(Utterance(text, seed=seed), timeout=PATIENCE_S):
                meter.packet(samples)
            return meter.finish()

        yield speak


def memory(model: Path, text: str) -> list[Figure]:
    """Of a server and nothing beside it: when it is ready, and the most with any packet of a
    stream."""
    with _running(model) as server, SpeechClient(server.urls.grpc) as client:
        ready = resident_mb(server.pid)
        packets = client.stream(Utterance(text, seed=0), timeout=PATIENCE_S)
        spoken = [(len(samples), resident_mb(server.pid)) for samples in packets]
        seconds = sum(samples for samples, _ in spoken) / client.sample_rate
    most = max(megabytes for _, megabytes in spoken)
    return [
        figure("memory of the server, ready", "MB", [ready]),
        figure(f"  while one stream of {seconds:g} s is spoken", "MB", [most]),
    ]


@contextmanager
def _running(model: Path) -> Iterator[TritonServer]:
    http, grpc, metrics = free_ports()
    settings = ServerSettings(
        model_dir=model.resolve(),
        http_port=http,
        grpc_port=grpc,
        metrics_port=metrics,
    )
    with TritonServer(settings) as server:
        server.wait_ready()
        yield server


def side_by_side(here: Speak, there: Speak, rounds: int) -> list[Figure]:
    """First packet and RTF of one stream, in this process and through Triton, in turn."""
    runs: list[tuple[StreamMetrics, StreamMetrics]] = []
    for seed in range(rounds):
        pair = (here(seed), there(seed)) if seed % 2 == 0 else (there(seed), here(seed))[::-1]
        runs.append(pair)
    ours, theirs = zip(*runs, strict=True)
    packets = [[first_packet(m) for m in side] for side in (ours, theirs)]
    later = [b - a for a, b in zip(*packets, strict=True)]
    longer = [b.total_s / a.total_s - 1 for a, b in runs]
    return [
        figure("first packet, in process", "s", packets[0]),
        figure("first packet, through Triton", "s", packets[1]),
        figure("RTF, in process", "", [rtf(m) for m in ours]),
        figure("RTF, through Triton", "", [rtf(m) for m in theirs]),
        figure("  Triton's share of the first packet", "s", later, "at most 0.010"),
        figure("  Triton's share of the total", "of it", longer, "at most 0.05"),
    ]


def at_once(speak: Speak, streams: int, rounds: int) -> list[StreamMetrics]:
    """`streams` sentences started at the same moment, `rounds` times."""
    start = threading.Barrier(streams)

    def one(seed: int) -> StreamMetrics:
        start.wait()
        return speak(seed)

    with ThreadPoolExecutor(streams) as pool:
        return [metrics for _ in range(rounds) for metrics in pool.map(one, range(streams))]


def many(speak: Speak, counts: Sequence[int], rounds: int) -> list[Figure]:
    """First packet and underruns of several streams at once."""
    figures = []
    for count in counts:
        runs = at_once(speak, count, rounds)
        name = f"{count} stream{'s' * (count > 1)} at once"
        figures += [
            figure(f"{name}, first packet", "s", [first_packet(m) for m in runs]),
            figure(f"{name}, dry for", "s", [m.underrun_s for m in runs], "0"),
        ]
    return figures


def resident_mb(pid: int) -> float:
    """Memory of a server and all its children, pages that they share counted once."""
    parent = psutil.Process(pid)
    family = [parent, *parent.children(recursive=True)]
    return float(sum(process.memory_full_info().pss for process in family) / 1e6)


def first_packet(metrics: StreamMetrics) -> float:
    assert metrics.first_packet_s is not None, "a sentence without a packet"
    return metrics.first_packet_s


def rtf(metrics: StreamMetrics) -> float:
    assert metrics.rtf is not None, "a sentence without audio"
    return metrics.rtf
