"""A sentence in this process with each way to set the flow, on one core, on two, and on more.

Cores that there are not are modelled from what each stage took: at best, as if stages overlapped
wholly and the threads of a stage shared its work evenly. Each has one thread, and every core beyond
goes to the slowest. The model is told for the measured cores too, which shows how far it is off.
"""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.end_to_end import first_packet, rtf, speaker
from benchmarks.figures import Figure, figure
from benchmarks.peaks import one_thread
from tritone.acoustic.placement import FlowSettings
from tritone.acoustic.presets import AS_IT_IS, SolverChoice
from tritone.errors import EnvironmentProblem
from tritone.llm.onnx.graph_files import USUAL_PRECISION
from tritone.local.tts import TTS, LocalStages
from tritone.synthesis.pipeline import Settings
from tritone_client.metrics import StreamMetrics

_ALL = FlowSettings(left_chunks=0)


@dataclass(frozen=True)
class Way:
    """flow: of the flow. solver: of its ODE. precision: of the language model."""

    flow: FlowSettings = _ALL
    solver: SolverChoice = AS_IT_IS
    precision: str = USUAL_PRECISION


_INT8, _VIEW, _ROWS = replace(_ALL, int8=True), FlowSettings(left_chunks=4, int8=True), "int8_rows"
WAYS: dict[str, Way] = {
    "exact": Way(),
    "exact, llm int8_rows": Way(precision=_ROWS),
    "fast": Way(solver=SolverChoice("fast")),
    "fast, flow in int8, llm int8_rows": Way(_INT8, SolverChoice("fast"), _ROWS),
    "faster, flow in int8, 4 chunks in view, llm int8_rows": Way(
        _VIEW, SolverChoice("faster"), _ROWS
    ),
}
"""What is compared, by name."""

MEASURED, MODELLED = (1, 2), (1, 2, 8, 16)  # cores
_OTHER = "language model and the rest"


@dataclass(frozen=True)
class Spoken:
    """A sentence: how it came, and the seconds of CPU that each stage took."""

    metrics: StreamMetrics
    stages: dict[str, float]

    def at_best(self, cores: int) -> float:
        """The RTF that the model gives."""
        assert self.metrics.audio_s
        return least_wall(self.stages, cores) / self.metrics.audio_s


def least_wall(stages: Mapping[str, float], cores: int) -> float:
    """Seconds that stages of so many seconds of CPU take on so many cores at best."""
    threads = dict.fromkeys(stages, 1)

    def alone(name: str) -> float:
        return stages[name] / threads[name]

    for _ in range(cores - len(stages)):
        threads[max(stages, key=alone)] += 1
    return max(sum(stages.values()) / cores, *map(alone, stages))


class Sentences:
    """Spoken in one way, in turn on so many cores. by_cores: those that there are."""

    def __init__(self, model: Path, text: str, way: Way, rounds: int) -> None:
        available = len(os.sched_getaffinity(0))
        self.by_cores: dict[int, list[Spoken]] = {n: [] for n in MEASURED if n <= available}
        settings = Settings()
        stages = LocalStages(
            model,
            settings.limits,
            flow=way.flow,
            solver=way.solver,
            language_model={"precision": way.precision},
        )
        with one_thread(), TTS(stages, settings) as tts:
            speak = speaker(tts, text)
            speak(0)
            for seed in range(rounds):
                for cores, spoken in self.by_cores.items():
                    with on_cores(cores):
                        spoken.append(_spoken(stages, speak, seed))

    def figures(self, way: str) -> list[Figure]:
        found = []
        for cores, spoken in self.by_cores.items():
            name, metrics = f"{way}, {_cores(cores)}", [one.metrics for one in spoken]
            found += [
                figure(f"RTF, {name}", "", list(map(rtf, metrics))),
                figure(f"first packet, {name}", "s", list(map(first_packet, metrics))),
            ]
        alone = self.by_cores[1]
        for stage in alone[0].stages:
            seconds = [one.stages[stage] for one in alone]
            found.append(figure(f"CPU of a sentence, {way}: {stage}", "s of CPU", seconds))
        for cores in MODELLED:
            modelled = [one.at_best(cores) for one in alone]
            found.append(figure(f"RTF, {way}, {_cores(cores)}, modelled at best", "", modelled))
        return found


def _cores(count: int) -> str:
    return f"{count} core{'s' * (count > 1)}"


def figures_of(model: Path, text: str, rounds: int, ways: Mapping[str, Way]) -> list[Figure]:
    """A way that this machine does not have, for want of a kernel or instructions, is left out."""
    found: list[Figure] = []
    for name, way in tqdm(ways.items(), desc="sentence", unit="way", leave=False):
        try:
            found += Sentences(model, text, way, rounds).figures(name)
        except EnvironmentProblem as error:
            print(f"{name}: not here: {error}", file=sys.stderr)
    return found


@contextmanager
def on_cores(count: int) -> Iterator[None]:
    """All threads of this process, and those that they start, on the first cores that it has."""
    usual = os.sched_getaffinity(0)
    _pin_all(sorted(usual)[:count])
    try:
        yield
    finally:
        _pin_all(usual)


def _pin_all(cores: Iterable[int]) -> None:
    for task in os.listdir("/proc/self/task"):
        # a thread may have ended meanwhile
        with suppress(ProcessLookupError):
            os.sched_setaffinity(int(task), cores)


def _spoken(stages: LocalStages, speak: Callable[[int], StreamMetrics], seed: int) -> Spoken:
    with timed(stages.flow, "step_all") as flow, timed(stages.vocoder, "step") as vocoder:
        begin = time.process_time()
        metrics = speak(seed)
        total = time.process_time() - begin
    own = {"flow": sum(flow), "vocoder": sum(vocoder)}
    return Spoken(metrics, {_OTHER: max(0.0, total - sum(own.values())), **own})


@contextmanager
def timed(owner: Any, method: str) -> Iterator[list[float]]:
    """CPU seconds of every call of one method of an object, of the calling thread alone."""
    seconds: list[float] = []
    function = getattr(owner, method)

    def call(*arguments: Any, **named: Any) -> Any:
        begin = time.thread_time()
        try:
            return function(*arguments, **named)
        finally:
            seconds.append(time.thread_time() - begin)

    setattr(owner, method, call)
    try:
        yield seconds
    finally:
        delattr(owner, method)


def plot(figures: Sequence[Figure], ways: Sequence[str], path: Path) -> None:
    """RTF over cores, and on the most cores that were measured, of the ways that have figures."""
    from matplotlib import pyplot

    values = {one.name: one.value for one in figures}
    ways = [way for way in ways if f"RTF, {way}, {_cores(1)}" in values]
    canvas, (over, beside) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for number, way in enumerate(ways):
        names = {n: f"RTF, {way}, {_cores(n)}" for n in MODELLED}
        measured = {n: values[name] for n, name in names.items() if name in values}
        modelled = [values[f"{name}, modelled at best"] for name in names.values()]
        colour = f"C{number}"
        told = f"{way}, modelled at best, not measured"
        over.plot([*measured], [*measured.values()], "o-", color=colour, label=f"{way}, measured")
        over.plot(MODELLED, modelled, "x--", color=colour, label=told)
        most = max(measured)
        beside.barh(way, measured[most], color=colour)
        beside.set(title=f"measured on {_cores(most)}", xlabel="RTF")
    over.axhline(1.0, color="grey", linewidth=0.8)
    over.set(xlabel="cores", ylabel="RTF", xscale="log", ylim=(0, None))
    over.set_xticks(MODELLED, [str(n) for n in MODELLED], minor=False)
    over.minorticks_off()
    canvas.legend(loc="outside lower center", ncols=2)
    canvas.savefig(path, dpi=120, bbox_inches="tight")
    pyplot.close(canvas)
