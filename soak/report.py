"""What a soak found, as a table, a plot and a judgement."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from soak.requests import Result
from soak.watch import Sight

GROWTH = 0.02  # of memory, from the beginning of the last half to its end


@dataclass(frozen=True)
class Report:
    """kills: processes that were killed. unexplained: results lost although nothing was killed.
    left: gauges that are not zero at the end."""

    results: Sequence[Result]
    sights: Sequence[Sight]
    kills: int
    unexplained: Sequence[Result]
    left: dict[str, float]

    @property
    def last_half(self) -> Sequence[Sight]:
        return self.sights[len(self.sights) // 2 :]

    def growth(self, name: str = "") -> float:
        """Of the private memory of a process, or of all, over the last half: between the medians of
        its first and its last quarter."""
        sizes = [
            s.private.get(name, 0.0) if name else sum(s.private.values()) for s in self.last_half
        ]
        quarter = max(1, len(sizes) // 4)
        begin, end = median(sizes[:quarter]), median(sizes[-quarter:])
        return end / begin - 1 if begin else 0.0

    @property
    def faults(self) -> list[str]:
        found = [f"{r.kind}: {r.problem}" for r in self.results if r.outcome == "fault"]
        found += [f"{r.kind} lost, and nothing was killed: {r.problem}" for r in self.unexplained]
        found += [f"{name} is {value:g} at the end" for name, value in self.left.items()]
        if self.growth() > GROWTH:
            found.append(f"memory grew by {100 * self.growth():.1f} % over the last half")
        return found

    def __str__(self) -> str:
        lines = ["| request | good | lost to a kill | fault |", "|---|---|---|---|"]
        kinds = sorted({result.kind for result in self.results})
        counts = Counter((result.kind, result.outcome) for result in self.results)
        for kind in kinds:
            numbers = [counts[kind, outcome] for outcome in ("good", "lost", "fault")]
            lines.append(f"| {kind} | {' | '.join(map(str, numbers))} |")
        lines += ["", "| process | MiB at first | at half | at the end | last half, private |"]
        lines.append("|---|---|---|---|---|")
        first, half, last = self.sights[0], self.last_half[0], self.sights[-1]
        for name in [*last.memory, ""]:
            sizes = [s.memory.get(name, 0.0) if name else s.total for s in (first, half, last)]
            shown = " | ".join(f"{size:.1f}" for size in sizes)
            lines.append(f"| {name or 'all'} | {shown} | {100 * self.growth(name):+.2f} % |")
        lines.append("")
        for what, values in (
            ("open files", [s.files for s in (first, half, last)]),
            ("threads", [s.threads for s in (first, half, last)]),
            ("shared memory, MiB", [s.shared >> 20 for s in (first, half, last)]),
        ):
            lines.append(
                f"{what}: {values[0]} at first, {values[1]} at half, {values[2]} at the end"
            )
        samples = sum(result.samples for result in self.results)
        lines.append(f"{samples / 24000:.0f} s of speech, {self.kills} processes killed")
        return "\n".join(lines)


def plot(report: Report, path: Path) -> None:
    """Memory of each process over time. Needs matplotlib."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 4.5), layout="constrained")
    minutes = [sight.at / 60 for sight in report.sights]
    for name in report.sights[-1].memory:
        axes.plot(minutes, [s.memory.get(name, float("nan")) for s in report.sights], label=name)
    axes.plot(minutes, [s.total for s in report.sights], label="all", color="black")
    axes.set(xlabel="minutes", ylabel="memory (PSS), MiB", ylim=(0, None))
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
