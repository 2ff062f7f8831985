"""Steps of loading: `step` around a piece of work, reported to the loader that is entered."""

import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Literal

from tritone.errors import TritoneError
from tritone.loading.catalogue import STEPS, doctor_command
from tritone.loading.watchdog import Watchdog

_MOST_NESTED = 2  # a step, and one inside it
_PROC = Path("/proc")
_SHORT = 0.05  # of the machine's memory: with less available it swaps, or kills

Kind = Literal["begins", "done", "failed", "late"]


@dataclass(frozen=True)
class Memory:
    """Bytes. resident: of this process. gpu: in use on its GPU, by all processes as nvidia-smi
    shows it; None without torch or before CUDA is used, which asking does not change, and after an
    error that ended CUDA for the process."""

    resident: int
    gpu: int | None = None


@dataclass(frozen=True)
class Report:
    """What happened to a step.

    kind: it begins, is done, has failed with `error`, or is late and goes on. step: its name in the
    catalogue. inside: the step that it is a part of, or "". path, nbytes: of what it reads, if
    that is a file or folder. seconds: since it began. limit_s: it is late after that. memory: now;
    for a late step without that of the GPU. cause, doctor: what may be wrong and the command that
    examines it, for failures and late steps. note: what the work said of its result.
    """

    kind: Kind
    model: str
    step: str
    inside: str
    path: Path | None
    nbytes: int
    seconds: float
    limit_s: float
    memory: Memory
    error: str = ""
    cause: str = ""
    doctor: str = ""
    note: str = ""


Reporter = Callable[[Report], object]
"""Takes the reports, in order; those of late steps come from another thread."""


@dataclass
class _Running:
    name: str
    inside: str
    path: Path | None
    began: float
    limit_s: float
    nbytes: int = 0
    note: str = ""


_ENTERED: ContextVar["Loader | None"] = ContextVar("loader", default=None)


class Loader:
    """Reports and watches the steps of what is loaded in its `with` block, by the same thread.

    model: whose steps they are. patience: factor on every limit. deadline_s: a step that takes
    longer ends the process with exit status 1; None lets it go on. model_dir, profile: for the
    doctor's command. clock: in seconds.

    An exception of `report` ends the loading.
    """

    def __init__(
        self,
        model: str,
        report: Reporter,
        *,
        patience: float = 1.0,
        deadline_s: float | None = None,
        model_dir: Path | None = None,
        profile: str | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._model, self._model_dir, self._profile = model, model_dir, profile
        self._report, self._patience, self._clock = report, patience, clock
        self._deadline_s = deadline_s or math.inf
        self._running: list[_Running] = []
        self._watchdog = Watchdog(self._late, deadline_s=self._deadline_s, clock=clock)

    def __enter__(self) -> "Loader":
        self._token = _ENTERED.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _ENTERED.reset(self._token)
        self._watchdog.close()

    @contextmanager
    def step(self, name: str, path: Path | None = None) -> Iterator[None]:
        """A step of the catalogue that reads `path`; an error in it is reported and goes on."""
        running = self._begin(name, path)
        try:
            yield
        except BaseException as error:
            self._end(running)
            self._tell("failed", running, error)
            raise
        self._end(running)
        self._tell("done", running)

    def note(self, text: str) -> None:
        """Of the step that runs."""
        self._running[-1].note = text

    def _begin(self, name: str, path: Path | None) -> _Running:
        assert len(self._running) < _MOST_NESTED, f"{name} is nested too deep"
        kind = STEPS[name]
        inside = self._running[-1].name if self._running else ""
        running = _Running(name, inside, path, self._clock(), self._patience * kind.limit(0))
        self._running.append(running)
        self._watchdog.watch(running.limit_s)  # before its file is looked at, which may hang
        if path is not None:
            running.nbytes = bytes_below(path)
            running.limit_s = self._patience * kind.limit(running.nbytes)
            self._watchdog.watch(running.limit_s)
        self._tell("begins", running)
        return running

    def _end(self, running: _Running) -> None:
        """The time of a step that this one was a part of begins anew."""
        ended = self._running.pop()
        assert ended is running
        if self._running:
            self._watchdog.watch(self._running[-1].limit_s)
        else:
            self._watchdog.rest()

    def _late(self) -> None:
        for running in self._running[-1:]:
            # the one that was late may be done by now, and this the next
            if self._clock() - running.began >= min(running.limit_s, self._deadline_s):
                self._tell("late", running)

    def _tell(self, kind: Kind, running: _Running, error: BaseException | None = None) -> None:
        known, advice = STEPS[running.name], {}
        if kind in ("failed", "late"):
            advice["doctor"] = doctor_command(known.check, self._model_dir, self._profile)
        if kind == "late" or (error is not None and not isinstance(error, TritoneError)):
            advice["cause"] = shortage() or known.cause  # our own errors name theirs
        if error is not None:
            first = (str(error).splitlines() or [""])[0]
            advice["error"] = f"{type(error).__name__}: {first}"
        report = Report(
            kind=kind,
            model=self._model,
            step=running.name,
            inside=running.inside,
            path=running.path,
            nbytes=running.nbytes,
            seconds=self._clock() - running.began,
            limit_s=running.limit_s,
            memory=memory_now(ask_gpu=kind != "late"),
            note=running.note,
            **advice,
        )
        self._report(report)


def step(name: str, path: Path | None = None) -> AbstractContextManager[None]:
    """`Loader.step` of the loader that this thread has entered; without one, nothing but the work.

    name: of the catalogue. path: the file or folder that the work reads.
    """
    assert name in STEPS, f"{name} is not in the catalogue of steps"
    loader = _ENTERED.get()
    return nullcontext() if loader is None else loader.step(name, path)


def note(text: str) -> None:
    """Have the report on the step that runs say something of its result."""
    if loader := _ENTERED.get():
        loader.note(text)


def bytes_below(path: Path) -> int:
    """Size of a file and of the `.data` file that an ONNX graph has beside it, or of a folder; 0
    for what is not there, which the work itself will say."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    files = (path, Path(f"{path}.data"))
    return sum(file.stat().st_size for file in files if file.is_file())


def memory_now(*, ask_gpu: bool = True) -> Memory:
    """ask_gpu: False while a call to the GPU may hang in another thread: this one would too."""
    pages = int((_PROC / "self" / "statm").read_text().split()[1])
    return Memory(pages * os.sysconf("SC_PAGE_SIZE"), _gpu_in_use() if ask_gpu else None)


def shortage() -> str:
    """A sentence if the machine's memory is nearly used up, else ""."""
    values = dict(line.split(":") for line in (_PROC / "meminfo").read_text().splitlines())
    total, available = (int(values[n].split()[0]) for n in ("MemTotal", "MemAvailable"))
    if available > _SHORT * total:
        return ""
    return f"only {available >> 10} of {total >> 10} MiB of memory are available"


def _gpu_in_use() -> int | None:
    torch = sys.modules.get("torch")
    # while torch is being imported in another thread it has no cuda yet
    cuda = getattr(torch, "cuda", None)
    if cuda is None or not cuda.is_initialized():
        return None
    held = {index: cuda.memory_reserved(index) for index in range(cuda.device_count())}
    current = cuda.current_device()
    device = max(held, key=lambda index: (held[index], index == current))
    try:
        free, total = cuda.mem_get_info(device)
    except RuntimeError:  # the error that made it so is on its way, and must not be lost here
        return None
    return int(total - free)
