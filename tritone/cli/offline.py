"""tritone offline: every line of a manifest into a file, without a server."""

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from tritone.cli.command import refused
from tritone.cli.options import Preset, Runtime
from tritone.llm.onnx.precision import PRECISIONS
from tritone.local.offline.run import Order, RunLog
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


def offline(
    model: Annotated[Path, typer.Option(help="model directory")],
    manifest: Annotated[Path, typer.Option(help="what to say")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="where the wave files go")],
    profile: Runtime = "cpu",
    batch: Batch = 8,
    threads: Threads = None,
    precision: Precision = "int8",
    preset: Preset = "exact",
    seed: Annotated[int, typer.Option(help="for lines that do not say")] = 0,
    temperature: Number = None,
    top_p: Number = None,
    top_k: TopK = None,
) -> int:
    """Speak every line of a manifest into DIR/ID.wav, without a server.

    A line is id|prompt_text|prompt_wav|text or a JSON object with id and text,
    and, if wanted, prompt_text, prompt_wav, voice, instruct_text, seed,
    temperature, top_p, top_k, speed; prompt_wav counts from the manifest's
    folder. All lines are checked before the first is spoken; bad ones are named
    and left out. What is finished is skipped, so an interrupted run resumes
    when it is started again. DIR/log.json has seconds by stage and the
    real-time factor, DIR/utterances.jsonl one line an utterance.

    Exit status: 0 all is spoken, 1 some lines are not, 2 it could not start or
    go on, 130 interrupted.
    """
    if fault := _fault(batch, threads, precision):
        return refused(fault)
    how = (profile, batch, threads, precision, preset, seed, temperature, top_p, top_k)
    tell = partial(tqdm.write, file=sys.stderr)  # above the bar that shows how far the work is
    try:
        log = speak_manifest(Order(model, manifest, out, *how), tell)
    except OSError as error:
        return refused(error)
    except KeyboardInterrupt:
        print("interrupted; start it again to go on", file=sys.stderr)
        return 130
    print(summary(log))
    return 1 if log.counts["failed"] or log.counts["bad_lines"] else 0


def _fault(batch: int, threads: int | None, precision: str) -> str:
    """What is wrong with the command line; empty if nothing is."""
    if not 1 <= batch <= MAX_BATCH:
        return f"--batch is {batch}; it must be 1 to {MAX_BATCH}"
    if threads is not None and threads < 1:
        return f"--threads is {threads}; it must be at least 1"
    if precision not in PRECISIONS:
        return f"--precision: {precision!r} is none of {', '.join(sorted(PRECISIONS))}"
    return ""


def summary(log: RunLog) -> str:
    """What was done, and what is left to do."""
    n = log.counts
    lines = [f"{n['spoken']} spoken, {n['skipped']} were there, {n['failed']} failed"]
    if log.rtf is not None:
        lines[0] += f"; {log.audio_s:.1f} s of speech in {log.pipeline_s:.1f} s, RTF {log.rtf:.3f}"
    if n["bad_lines"]:
        lines.append(f"{n['bad_lines']} lines of the manifest cannot be spoken, see above")
    if n["failed"] or n["bad_lines"]:
        lines.append("mend them and start again: what is finished is skipped")
    return "\n".join(lines)
