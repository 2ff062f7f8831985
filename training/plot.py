"""Stage 'plots': the curves of every stage's log, one picture a stage."""

import json
from pathlib import Path

from training.config import VoiceConfig

SKIPPED = {"step", "time", "gradient", "steps_a_second"}


def read_log(path: Path) -> dict[str, list[tuple[float, float]]]:
    """Points (step, value) of each curve."""
    curves: dict[str, list[tuple[float, float]]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        entry: dict[str, float] = json.loads(line)
        for name, value in entry.items():
            if name not in SKIPPED:
                curves.setdefault(name, []).append((entry["step"], value))
    return curves


def write(work: Path, voice: VoiceConfig) -> None:
    """WORK/plots/STAGE.svg for each stage that has a log."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    (work / "plots").mkdir(exist_ok=True)
    for path in sorted(work.glob("*/log.jsonl")):
        curves = read_log(path)
        names = sorted({name.removeprefix("val_") for name in curves})
        figure, axes = pyplot.subplots(
            1, len(names), figsize=(3.2 * len(names), 2.6), squeeze=False
        )
        for name, axis in zip(names, axes[0], strict=True):
            for prefix, style in (("", "-"), ("val_", "o--")):
                points = curves.get(prefix + name)
                if points:
                    axis.plot(*zip(*points, strict=True), style, markersize=3, label=prefix + name)
            axis.set_title(name)
            axis.set_xlabel("step")
            axis.grid(alpha=0.3)
        figure.tight_layout()
        figure.savefig(work / "plots" / f"{path.parent.name}.svg")
        pyplot.close(figure)
