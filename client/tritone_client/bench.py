"""Measure a running server under load.

    tritone-bench --text "Hello there." --concurrency 1,2,4
    tritone-bench --manifest meta.lst --rate 0.5,1,2 --json bench.json --plot bench.png

Closed loop (--concurrency): so many streams are kept going; a slow server is asked less often.
Open loop (--rate): requests arrive as a Poisson process, whatever became of those before; this is
what users do. There, times count from when a request was due, not from when it was sent, so that a
client or server that falls behind cannot hide the wait (coordinated omission).

A manifest has lines id|prompt_text|prompt_wav|text, or JSON objects with id, text and, if wanted,
prompt_text, prompt_wav, voice, instruct_text, seed, temperature, top_p, top_k, speed.

What is measured, for each request:
  first packet    until the first packet with audio has arrived
  audible         until playback that starts with the first packet reaches a sample above -50 dBFS
  total           until the server has said that the stream is complete
  gap             between the arrivals of neighbouring packets
  underrun        such playback runs dry (by over 1 ms): how often, and for how long
  request_rtf     total / seconds of audio of this request

and for each level:
  good            requests that ended well with audio, of all; only these count below
  RTF             wall / sum of audio seconds, wall from the level's begin to its last request's end
                  (as in the upstream runtime's client)
  audio s/s       sum of audio seconds / wall
  real time       good requests that played without an underrun
  late            open loop: how long after it was due a request was sent, at most

JSON adds avg, p50, p90, p95, p99, min and max of each, and every single request.

Exit status: 0 measured, 1 every request failed, 2 wrong usage, 130 interrupted (what was measured
until then is reported and written).
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tritone_client.aio import AsyncSpeechClient
from tritone_client.load import Kind, Level, closed_loop, open_loop, poisson_arrivals, speaker
from tritone_client.manifest import Entry, ManifestError, read_manifest
from tritone_client.request import Utterance
from tritone_client.servers import add_options as add_server_options
from tritone_client.summary import Summary, plot, summarize, table
from tritone_client.sync import DEFAULT_TIMEOUT
from tritone_client.tls import Tls, add_options, from_options


def numbers(kind: type[float]) -> Callable[[str], list[float]]:
    """A reader of comma-separated numbers above 0."""

    def read(text: str) -> list[float]:
        try:
            values = [kind(part) for part in text.split(",")]
        except ValueError:
            values = []
        if not values or not all(0 < value < float("inf") for value in values):
            name = "whole numbers" if kind is int else "numbers"
            raise argparse.ArgumentTypeError(f"{text!r}: {name} above 0 are needed, such as 1,2,4")
        return values

    return read


def build_parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add_server_options(parser)
    add("--model", help="Triton model (the public one that is ready)")
    spoken = parser.add_mutually_exclusive_group(required=True)
    spoken.add_argument("--manifest", type=Path, help="what to say, in turn")
    spoken.add_argument("--text", nargs="+", help="what to say, in turn")
    load = parser.add_mutually_exclusive_group()
    load.add_argument("--concurrency", type=numbers(int), metavar="N,...", help="closed loop (1)")
    load.add_argument("--rate", type=numbers(float), metavar="R,...", help="open loop, a second")
    add("--requests", type=int, default=20, help="of each level (%(default)s)")
    add("--warmup", type=int, default=1, help="requests before each level, not measured (1)")
    seed = "of the arrivals (0), and of sampling: request n gets SEED + n (the server's choice)"
    add("--seed", type=int, help=seed)
    add("--timeout", type=float, default=DEFAULT_TIMEOUT, help="of a request, s (%(default)s)")
    add("--json", type=Path, metavar="FILE", help="write all figures")
    add("--plot", type=Path, metavar="FILE", help="draw them; .png, .svg or .pdf")
    add_options(parser)
    return parser


def check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Refuse what could only fail after the measurement."""
    busiest = max(options.concurrency or [1])
    if options.requests < busiest:
        parser.error(f"--requests {options.requests} cannot keep {busiest} streams going")
    if options.warmup < 0 or options.timeout <= 0:
        parser.error("--warmup must be at least 0, and --timeout above 0")
    if options.seed is not None and not 0 <= options.seed < 2**63:
        parser.error(f"--seed is {options.seed}; it must be at least 0 and below 2**63")
    for target in filter(None, (options.json, options.plot)):
        if not target.parent.is_dir() or target.is_dir():
            parser.error(f"{target}: must be a file in a folder that exists")
    if options.plot and options.plot.suffix not in (".png", ".svg", ".pdf"):
        parser.error(f"--plot {options.plot}: its suffix must be .png, .svg or .pdf")
    if options.plot and find_spec("matplotlib") is None:
        parser.error("--plot needs matplotlib: pip install 'matplotlib>=3.8'")


async def measure(
    options: argparse.Namespace, spoken: Sequence[Entry], levels: list[Level], tls: Tls | None
) -> None:
    """Run the levels; each is added as it begins, so that a break leaves what there is."""
    kind: Kind = "rate" if options.rate else "concurrency"
    patience = {"retries": options.retries, "resume": options.resume}
    async with AsyncSpeechClient(options.url, options.model, tls, **patience) as client:
        utterances = [entry.utterance for entry in spoken]
        speak = speaker(client, utterances, options.seed, options.timeout)
        for value in options.rate or options.concurrency or [1]:
            at_once = 1 if options.rate else value
            await closed_loop(Level(kind, value), speak, options.warmup, at_once)
            with tqdm(total=options.requests, desc=f"{kind} {value:g}", unit="request") as bar:
                level = Level(kind, value, on_sample=bar.update)
                levels.append(level)
                if options.rate:
                    arrivals = poisson_arrivals(value, options.requests, options.seed or 0)
                    await open_loop(level, speak, arrivals)
                else:
                    await closed_loop(level, speak, options.requests, at_once)


def figures(level: Level, summary: Summary, spoken: Sequence[Entry]) -> dict[str, Any]:
    """A level as plain values, for JSON: its summary and every request."""
    samples = [
        {"id": spoken[sample.number % len(spoken)].id, **sample.as_dict()}
        for sample in level.samples
    ]
    return {**summary.as_dict(), "samples": samples}


def notes(summaries: Sequence[Summary]) -> list[str]:
    """What a reader of the table must know."""
    lines = []
    for s in summaries:
        if s.errors:
            kinds = ", ".join(f"{count} {status}" for status, count in s.errors.items())
            lines.append(f"{s.kind} {s.value:g}: {kinds}; the first: {s.first_error}")
        if s.retries:
            lines.append(f"{s.kind} {s.value:g}: {s.retries} times a request was asked again")
        if s.most_late_s > 0.05:
            lines.append(
                f"{s.kind} {s.value:g}: this client sent up to {s.most_late_s:.2f} s late; "
                "that is part of the times above"
            )
    return lines


def run(options: argparse.Namespace, spoken: Sequence[Entry], tls: Tls | None) -> int:
    """Measure, report and write what was asked for; the exit status."""
    began = datetime.now(timezone.utc).isoformat(timespec="seconds")
    levels: list[Level] = []
    status = None
    try:
        asyncio.run(measure(options, spoken, levels, tls))
    except KeyboardInterrupt:
        status = 130
        print("interrupted; this is what was measured", file=sys.stderr)
    levels = [level for level in levels if level.samples]
    summaries = [summarize(level) for level in levels]
    print(table(summaries))
    for line in notes(summaries):
        print(line, file=sys.stderr)
    if options.json:
        arguments = {k: str(v) if isinstance(v, Path) else v for k, v in vars(options).items()}
        measured = [figures(*pair, spoken) for pair in zip(levels, summaries, strict=True)]
        told = {"arguments": arguments, "began": began, "levels": measured}
        text = json.dumps(told, indent=1, ensure_ascii=False)
        options.json.write_text(text + "\n", encoding="utf-8")
    if options.plot and levels:
        plot(levels, summaries, options.plot)
    return status or int(not any(summary.completed for summary in summaries))


def main(arguments: Sequence[str] | None = None, prog: str = "tritone-bench") -> int:
    """The command, by default with the arguments of this process."""
    parser = build_parser(prog)
    options = parser.parse_args(arguments)
    check(parser, options)
    tls = from_options(parser, options)
    if options.text:
        return run(options, [Entry(text, Utterance(text)) for text in options.text], tls)
    try:
        return run(options, read_manifest(options.manifest), tls)
    except ManifestError as error:
        parser.error(str(error))


if __name__ == "__main__":
    sys.exit(main())
