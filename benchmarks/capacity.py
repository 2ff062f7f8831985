"""What one machine does with 1, 2, 4, ... streams at a time: what `tritone plan` needs of it.

    tritone serve --set cosyvoice2.max_first_audio_seconds=0 --set cosyvoice2.playback_reserve=0
    python -m benchmarks.capacity --kind two-cores --json two-cores.json

The server must run, take every stream (as above) and do nothing else. Of each level the streams
that begin or end beside fewer others are left out. Processor time is that of the server's
processes, where it is on this machine.
"""

import argparse
import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from benchmarks.overload import TEXTS
from tritone.diagnostics.planner.measured import Level as Measurement
from tritone.diagnostics.planner.measured import Measured
from tritone_client import AsyncSpeechClient, Utterance
from tritone_client.bench import numbers
from tritone_client.load import Level, Sample, Speak, closed_loop, speaker
from tritone_client.manifest import read_manifest

EACH = 10  # requests of a stream, at least
FEWEST = 60  # of a level


def level_of(streams: int, samples: Sequence[Sample]) -> Measurement:
    """The figures of a closed loop, without the streams at its begin and end. Raises ValueError
    where one failed.

    So many streams are always there, each as long as it takes: so many a second end.
    """
    for sample in samples:
        if sample.error is not None:
            raise ValueError(f"{streams} streams at a time: {sample.error}")
    steady = sorted(samples, key=lambda sample: sample.due_s)[streams : len(samples) - streams]
    firsts = [sample.metrics.first_packet_s for sample in steady]
    audio = [sample.metrics.audio_s for sample in steady]
    lasted = [sample.metrics.total_s for sample in steady]
    return Measurement(
        streams=streams,
        audio_per_second=streams * sum(audio) / sum(lasted),
        first_packet_s=[seconds for seconds in firsts if seconds is not None],
        stream_s=lasted,
        audio_s=audio,
    )


async def levels(
    speak: Speak, counts: Sequence[int], told: Callable[[Measurement], object] = lambda _: None
) -> list[Measurement]:
    """told: each level when it is measured. Raises ValueError where a request failed."""
    found = []
    for streams in counts:
        level = Level("concurrency", streams)
        await closed_loop(level, speak, max(FEWEST, EACH * streams) + 2 * streams, streams)
        found.append(level_of(streams, level.samples))
        told(found[-1])
    return found


def server_processes(url: str) -> list[psutil.Process]:
    """The server that listens there and its models' processes; none if it is not on this machine,
    or another user's."""
    host, _, port = url.rpartition(":")
    if host not in ("127.0.0.1", "localhost", "[::1]"):
        return []
    with suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            listens = connection.status == psutil.CONN_LISTEN
            if listens and connection.pid and connection.laddr.port == int(port):
                process = psutil.Process(connection.pid)
                return [process, *process.children(recursive=True)]
    return []


def cpu_seconds(processes: Sequence[psutil.Process]) -> float:
    times = [process.cpu_times() for process in processes]
    return float(sum(each.user + each.system for each in times))


async def measure(
    url: str, utterances: Sequence[Utterance], counts: Sequence[int], kind: str, cores: int
) -> Measured:
    processes = server_processes(url)
    async with AsyncSpeechClient(url) as client:
        speak = speaker(client, utterances, seed=1, timeout=600.0)
        await closed_loop(Level("concurrency", 1), speak, len(utterances), 1)  # warm
        spoken: list[float] = []

        async def counted(number: int) -> tuple:  # type: ignore[type-arg]
            metrics, error = await speak(number)
            spoken.append(metrics.audio_s)
            return metrics, error

        before = cpu_seconds(processes)
        found = await levels(counted, counts, lambda level: print(line_of(level), flush=True))
        used = (cpu_seconds(processes) - before) / sum(spoken) if processes else None
        return Measured(
            format="tritone-capacity-1",
            kind=kind,
            model=await client.model(),
            cores=cores,
            cpu_s_per_audio_s=used or None,
            levels=found,
        )


def line_of(level: Measurement) -> str:
    firsts = sorted(level.first_packet_s)
    return (
        f"{level.streams:>3} streams: {level.audio_per_second:6.2f} s of audio a second, first "
        f"packet p50 {1000 * firsts[len(firsts) // 2]:.0f} ms, "
        f"p95 {1000 * firsts[int(0.95 * len(firsts))]:.0f} ms"
    )


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--url", default="127.0.0.1:8001", help="gRPC address (%(default)s)")
    add("--kind", required=True, help="what such a machine is called")
    add("--json", type=Path, required=True, metavar="FILE", help="write the figures there")
    add("--manifest", type=Path, help="what is said, as for tritone bench; as your callers do")
    add("--streams", type=numbers(int), default=[1, 2, 4, 8], metavar="N,...", help="(1,2,4,8)")
    add("--cores", type=int, default=psutil.cpu_count(), help="of that machine (%(default)s)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.streams[0] != 1 or options.streams != sorted(set(options.streams)):
        parser.error(f"--streams {options.streams}: they must begin at 1 and grow")
    if not options.json.parent.is_dir():
        parser.error(f"--json {options.json}: the folder is not there")
    said = [Utterance(text) for text in TEXTS]
    try:
        if options.manifest:
            said = [entry.utterance for entry in read_manifest(options.manifest)]
        found = asyncio.run(
            measure(options.url, said, options.streams, options.kind, options.cores)
        )
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    options.json.write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
