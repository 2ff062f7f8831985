"""tritone load: a model directory step by step without a server, then a word."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from tritone.cli.command import refused
from tritone.cli.options import Runtime
from tritone.errors import TritoneError
from tritone.loading.catalogue import SLOWEST_READ, doctor_command, steps_of
from tritone.loading.reports import Summary
from tritone.loading.steps import Loader
from tritone.local import trial
from tritone.local.trial import Progress, Reached, Trial

ModelDir = Annotated[
    Path | None, typer.Argument(envvar="TRITONE_MODEL", metavar="MODEL_DIR", help="what to load")
]
Half = Annotated[
    Literal["bf16", "fp16"] | None,
    typer.Option(
        help="flow and vocoder in 16 bits, without a value bf16; on a GPU the vocoder stays in 32. "
        "Without it each takes what is best on the device"
    ),
]


@dataclass(frozen=True)
class Tried:
    """What is loaded, and what it says then."""

    model: ModelDir = None
    profile: Runtime = "cpu"
    half: Half = None
    text: Annotated[str, typer.Option(help="what is spoken")] = "Hello there."
    voice: Annotated[
        str | None, typer.Option(help="a registered voice (the checkpoint's own, or the first)")
    ] = None

    @property
    def trial(self) -> Trial:
        """Raises ValueError where there is nothing to load."""
        if self.model is None:
            raise ValueError("MODEL_DIR is missing, and TRITONE_MODEL is not set")
        if not self.model.is_dir():
            folder = self.model
            raise ValueError(
                f"{folder} is no folder; make one with tritone convert RELEASE {folder}"
            )
        return Trial(self.model, self.profile, self.half, self.text, self.voice)


@dataclass(frozen=True)
class Time:
    """What a step may take."""

    patience: Annotated[float, typer.Option(metavar="FACTOR", help="on the limit of each step")] = (
        1.0
    )
    deadline: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="end a step that takes longer (never)")
    ] = None

    def check(self) -> None:
        """Raise ValueError for what is no time."""
        for name, value in vars(self).items():
            if value is not None and not value > 0:
                raise ValueError(f"--{name}: {value:g}; it must be above 0")


def load(
    tried: Tried,
    time: Time,
    until: Annotated[str | None, typer.Option(metavar="STEP", help="end after this step")] = None,
    list_: Annotated[bool, typer.Option("--list", help="name the steps and load nothing")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="the summary as JSON on stdout")] = False,
) -> int:
    """Load a model directory step by step, then speak a word.

    Every step is shown before and after it, and a table at the end has its
    file, seconds, and the memory after it. A step that takes too long is named,
    with all Python stacks, the likely cause and the doctor's command, and goes
    on; --deadline ends it.

    Exit status: 0 all steps are done and it spoke, or --until was reached; 1 a
    step failed or took longer than --deadline; 2 the command line is wrong, or
    the step of --until was not met; 130 interrupted.
    """
    if list_:
        show_steps(tried.profile)
        return 0
    names = [kind.name for kind in steps_of(tried.profile)]
    if until is not None and until not in names:
        return refused(f"--until: {until!r} is no step; they are: {', '.join(names)}")
    try:
        time.check()
        what = tried.trial
    except ValueError as error:
        return refused(error)
    summary = Summary(what.model)
    progress = Progress(summary, len(names), until)
    loader = loader_of(what, time, progress)
    return attempt(what, loader, progress, summary) or report(summary, progress, until, as_json)


def loader_of(what: Trial, time: Time, progress: Progress) -> Loader:
    return Loader(
        "load_model",
        progress,
        patience=time.patience,
        deadline_s=time.deadline,
        model_dir=what.model,
        profile=what.profile,
    )


def attempt(what: Trial, loader: Loader, progress: Progress, summary: Summary) -> int:
    """Load and speak, the outcome in the summary; the exit status of an interrupt, else 0."""
    try:
        with loader:
            trial.load_and_speak(what)
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
    return 0


def report(summary: Summary, progress: Progress, until: str | None, as_json: bool) -> int:
    """Say how it went; the exit status."""
    print(json.dumps(summary.plain(), indent=2) if as_json else summary.table())
    if summary.problem:
        print(summary.problem, file=sys.stderr)
        return 1
    if not progress.reached:
        print(f"this checkpoint has no step {until}", file=sys.stderr)
        return 2
    return 0


def show_steps(profile: str) -> None:
    for kind in steps_of(profile):
        doctor = doctor_command(kind.check, profile=profile)
        note = "if it is needed" if kind.optional else ""
        print(f"{kind.name:<20} {kind.seconds:>4g} s  {doctor:<74} {note}".rstrip())
    print(f"limits are for no file; a file adds the time to read it at {SLOWEST_READ / 1e6:g} MB/s")
