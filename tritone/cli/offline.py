"""tritone offline: every line of a manifest into a file, without a server."""

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from tritone.cli.command import refused
from tritone.cli.options import Preset, Runtime
from tritone.llm.contract import SamplingParams
from tritone.llm.onnx.precision import PRECISIONS
from tritone.local.offline.corpus import CorpusOrder, run_corpus
from tritone.local.offline.run import Order
from tritone.local.offline.run import run as speak_manifest
from tritone.local.offline.speak import MAX_BATCH

Batch = Annotated[int, typer.Option(help=f"utterances at a time, 1 to {MAX_BATCH}")]
Threads = Annotated[
    int | None, typer.Option(help="of each operator of flow and vocoder (torch's own / batch)")
]
Precision = Annotated[
    str,
    typer.Option(
        help=f"of the language model's weights, with --profile cpu: {', '.join(sorted(PRECISIONS))}"
    ),
]
Number = Annotated[float | None, typer.Option(help="for lines that do not say")]
TopK = Annotated[int | None, typer.Option(help="for lines that do not say; 1 is greedy")]
Out = Annotated[
    str, typer.Option(metavar="DIR", help="where the wave files go; with --ray a URL too")
]
Ray = Annotated[
    str | None,
    typer.Option("--ray", metavar="ADDRESS", help="of a Ray cluster: local, auto or HOST:PORT"),
]
Workers = Annotated[int | None, typer.Option(help="with --ray: processes that speak (what fits)")]
Cores = Annotated[
    int | None, typer.Option(help="with --ray: of each process (4, or the share of its GPU)")
]
Tries = Annotated[
    int, typer.Option(help="with --ray: how often an item may be begun if its process dies")
]


def offline(
    model: Annotated[Path, typer.Option(help="model directory")],
    manifest: Annotated[Path, typer.Option(help="what to say")],
    out: Out,
    profile: Runtime = "cpu",
    batch: Batch = 8,
    threads: Threads = None,
    precision: Precision = "int8",
    preset: Preset = "exact",
    seed: Annotated[int, typer.Option(help="for lines that do not say")] = 0,
    temperature: Number = None,
    top_p: Number = None,
    top_k: TopK = None,
    ray: Ray = None,
    workers: Workers = None,
    cores_per_worker: Cores = None,
    tries: Tries = 3,
) -> int:
    """Speak every line of a manifest into DIR/ID.wav, without a server.

    A line is id|prompt_text|prompt_wav|text or a JSON object with id and text,
    and, if wanted, prompt_text, prompt_wav, voice, instruct_text, seed,
    temperature, top_p, top_k, speed; prompt_wav counts from the manifest's
    folder. NAME.parquet has columns of these names. All lines are checked
    before the first is spoken; bad ones are named and left out. What is
    finished is skipped, so an interrupted run resumes when it is started again.
    DIR/log.json has seconds by stage and the real-time factor,
    DIR/utterances.jsonl one line an utterance.

    With --ray, processes on any number of machines speak. DIR is a folder that
    all of them share, or the URL of an object store; DIR/log.jsonl has one line
    an utterance, DIR/failures.jsonl one for each that has no result.

    Exit status: 0 all is spoken, 1 some lines are not, 2 it could not start or
    go on, 130 interrupted.
    """
    counts = {"--workers": workers, "--cores-per-worker": cores_per_worker, "--tries": tries}
    fault = _fault(batch, precision, {"--threads": threads, **counts})
    if ray is None:
        fault = fault or _for_ray_alone(out, workers, cores_per_worker)
    if fault:
        return refused(fault)
    how = (profile, batch, threads, precision, preset)
    tell = partial(tqdm.write, file=sys.stderr)  # above the bar that shows how far the work is
    try:
        if ray is not None:
            sampling = SamplingParams(temperature, top_p, top_k, seed)
            given = (*how, sampling, ray, workers, cores_per_worker, tries)
            totals = run_corpus(CorpusOrder(model, manifest, out, *given), tell)
        else:
            order = Order(model, manifest, Path(out), *how, seed, temperature, top_p, top_k)
            totals = speak_manifest(order, tell)
    except OSError as error:
        return refused(error)
    except KeyboardInterrupt:
        print("interrupted; start it again to go on", file=sys.stderr)
        return 130
    print(totals.summary())
    return 0 if totals.complete else 1


def _fault(batch: int, precision: str, counts: dict[str, int | None]) -> str:
    """What is wrong with the command line; empty if nothing is."""
    if not 1 <= batch <= MAX_BATCH:
        return f"--batch is {batch}; it must be 1 to {MAX_BATCH}"
    for option, count in counts.items():
        if count is not None and count < 1:
            return f"{option} is {count}; it must be at least 1"
    if precision not in PRECISIONS:
        return f"--precision: {precision!r} is none of {', '.join(sorted(PRECISIONS))}"
    return ""


def _for_ray_alone(out: str, workers: int | None, cores: int | None) -> str:
    """What of a command line without --ray needs it; empty if nothing does."""
    for option, value in (("--workers", workers), ("--cores-per-worker", cores)):
        if value is not None:
            return f"{option} goes with --ray; here --batch says how many are spoken at a time"
    return f"--out: {out} is no folder; a URL goes with --ray" if "://" in out else ""
