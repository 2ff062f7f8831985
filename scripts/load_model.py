"""Load a model directory step by step without a server, then speak a word.

    python scripts/load_model.py checkpoints/embedded
    python scripts/load_model.py models/cosyvoice2 --profile gpu-torch --half
    python scripts/load_model.py models/cosyvoice2 --until "flow weights"
    python scripts/load_model.py --profile gpu --list

Every step is shown before and after it, and a table at the end has its file, seconds, and the
memory after it. A step that takes too long is named, with all Python stacks, the likely cause and
the doctor's command, and goes on; --deadline ends it.

Exit status: 0 all steps are done and it spoke, or --until was reached; 1 a step failed or took
longer than --deadline; 2 the command line is wrong, or the step of --until was not met; 130
interrupted.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from tritone.errors import TritoneError
from tritone.llm.runtimes import RUNTIMES
from tritone.loading.catalogue import SLOWEST_READ, doctor_command, steps_of
from tritone.loading.lines import line
from tritone.loading.steps import Loader, Report, step
from tritone.loading.summary import Summary

if TYPE_CHECKING:
    from tritone.local.stages import LocalStages

SILENCE = 1e-3  # RMS; speech has a hundredfold


class Reached(Exception):
    """The step of --until is done."""


class Progress:
    """Shows the steps as they come: a bar on a terminal, lines elsewhere; on stderr."""

    def __init__(self, summary: Summary, total: int, until: str | None) -> None:
        self._summary, self._until = summary, until
        self.running, self.reached = "", until is None
        self._bar = tqdm(total=total, unit="step", leave=False, disable=None, file=sys.stderr)

    def __call__(self, report: Report) -> None:
        if self._until and self.reached:
            return  # the step around the last one ends with it
        self._summary.add(report)
        if report.kind == "begins":
            self.running = report.step
            self._bar.set_description(report.step)
        if self._bar.disable or report.kind == "late":
            self._bar.write(line(report), file=sys.stderr)
        if report.kind == "done":
            self._bar.update()
            if report.step == self._until:
                self.reached = True
                raise Reached

    def close(self) -> None:
        self._bar.close()


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/load_model.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    model = os.environ.get("TRITONE_MODEL") or None
    parser.add_argument(
        "model", type=Path, nargs="?", default=model, metavar="MODEL_DIR", help="($TRITONE_MODEL)"
    )
    parser.add_argument(
        "--profile",
        choices=[runtime.profile for runtime in RUNTIMES.values()],
        default="cpu",
        help="where it runs, as for scripts/serve.py (%(default)s)",
    )
    parser.add_argument(
        "--half",
        choices=("bf16", "fp16"),
        nargs="?",
        const="bf16",
        help="flow and vocoder in 16 bits (bf16); on a GPU the vocoder stays in 32. Without it "
        "each takes what is best on the device",
    )
    parser.add_argument("--until", metavar="STEP", help="end after this step")
    parser.add_argument("--list", action="store_true", help="name the steps and load nothing")
    parser.add_argument("--json", action="store_true", help="the summary as JSON on stdout")
    limits = parser.add_argument_group("time limits")
    limits.add_argument(
        "--patience", type=float, default=1.0, metavar="FACTOR", help="on the limit of each step"
    )
    limits.add_argument(
        "--deadline", type=float, metavar="SECONDS", help="end a step that takes longer (never)"
    )
    speech = parser.add_argument_group("what is spoken")
    speech.add_argument("--text", default="Hello there.", help="%(default)s")
    speech.add_argument("--voice", help="a registered voice (the checkpoint's own, or the first)")
    return parser


def show_steps(profile: str) -> None:
    rows = [
        (kind.name, kind.seconds, doctor_command(kind.check, profile=profile), kind.optional)
        for kind in steps_of(profile)
    ]
    for name, seconds, doctor, optional in rows:
        note = "if it is needed" if optional else ""
        print(f"{name:<20} {seconds:>4g} s  {doctor:<74} {note}".rstrip())
    print(f"limits are for no file; a file adds the time to read it at {SLOWEST_READ / 1e6:g} MB/s")


def load_and_speak(options: argparse.Namespace) -> None:
    """Everything, within the loader that is entered; raises what the steps raise."""
    with step("imports"):
        from tritone.compute.device import torch_dtype
        from tritone.acoustic.flow_placement import flow_of
        from tritone.local.stages import LocalStages
        from tritone.synthesis.limits import DEFAULT_LIMITS

    half = torch_dtype(options.half) if options.half else None
    stages = LocalStages(
        options.model,
        DEFAULT_LIMITS,
        profile=options.profile,
        flow=replace(flow_of(options.profile), dtype=half),
        vocoder_dtype=half,
    )
    try:
        stages.warm_up()
        with step("speak"):
            speak(stages, options)
    finally:
        stages.llm.close()


def speak(stages: "LocalStages", options: argparse.Namespace) -> None:
    """Speak the text; raises StageFailed for samples that are no sound.

    Where no voice is registered, the speaker is a second of noise.
    """
    import numpy as np

    from tritone.errors import StageFailed
    from tritone.frontend.voices import VoiceStore
    from tritone.llm.contract import SamplingParams
    from tritone.local.tts import TTS
    from tritone.synthesis.pipeline import Settings

    names = VoiceStore(options.model).names()
    voice = options.voice or stages.config.default_voice or next(iter(names), None)
    noise = 0.1 * np.random.default_rng(0).standard_normal(16000, dtype=np.float32)
    samples = TTS(stages, Settings()).synthesize(
        options.text,
        voice=voice,
        reference_wav=None if voice else noise,
        sampling=SamplingParams(seed=0),
    )
    level = float(np.sqrt(np.mean(np.square(samples))))
    if not level > SILENCE:  # nor is NaN
        raise StageFailed("speak", f"{len(samples)} samples came out with an RMS of {level:g}")


def run(options: argparse.Namespace) -> int:
    summary = Summary(options.model)
    progress = Progress(summary, len(steps_of(options.profile)), options.until)
    loader = Loader(
        "load_model",
        progress,
        patience=options.patience,
        deadline_s=options.deadline,
        model_dir=options.model,
        profile=options.profile,
    )
    try:
        with loader:
            load_and_speak(options)
    except Reached:
        pass
    except KeyboardInterrupt:
        print(f"interrupted in the step {progress.running}", file=sys.stderr)
        return 130
    except Exception as error:
        if summary.failed is None and not isinstance(error, TritoneError):
            raise  # nothing but its trace says where
        summary.end(error)
    finally:
        progress.close()
    print(json.dumps(summary.plain(), indent=2) if options.json else summary.table())
    if summary.problem:
        print(summary.problem, file=sys.stderr)
        return 1
    if not progress.reached:
        print(f"this checkpoint has no step {options.until}", file=sys.stderr)
        return 2
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = build_parser()
    options = parser.parse_args(arguments)
    names = [kind.name for kind in steps_of(options.profile)]
    if options.list:
        show_steps(options.profile)
        return 0
    if options.model is None:
        parser.error("MODEL_DIR is missing, and TRITONE_MODEL is not set")
    if options.until is not None and options.until not in names:
        parser.error(f"--until: {options.until!r} is no step; they are: {', '.join(names)}")
    for name in ("patience", "deadline"):
        value = getattr(options, name)
        if value is not None and not value > 0:
            parser.error(f"--{name}: {value:g}; it must be above 0")
    return run(options)


if __name__ == "__main__":
    sys.exit(main())
