"""The steps of a loading: as a table, and as JSON."""

from pathlib import Path
from typing import Any

from tritone.loading.lines import advice
from tritone.loading.steps import Report

_HEADINGS = ("step", "file", "MB", "seconds", "resident MiB", "GPU MiB")
_TEXT_COLUMNS = 2  # the first ones; the others hold numbers


class Summary:
    """Takes every report and keeps what became of each step, in the order in which they ended."""

    def __init__(self, model_dir: Path) -> None:
        self._model_dir = model_dir
        self.steps: list[Report] = []
        self.late: list[Report] = []
        self.problem = ""

    def add(self, report: Report) -> None:
        if report.kind in ("done", "failed"):
            self.steps.append(report)
        elif report.kind == "late":
            self.late.append(report)

    @property
    def failed(self) -> Report | None:
        """The step that ended the loading; the one around it fails after it."""
        return next((report for report in self.steps if report.kind == "failed"), None)

    def end(self, error: BaseException) -> None:
        """Keep, as `problem`, what a person is told of the error that ended the loading."""
        if self.failed is not None:
            report = self.failed
            self.problem = f"the step {report.step} failed: {report.error}{advice(report)}"
            return
        after = f" after the step {self.steps[-1].step}" if self.steps else ""
        self.problem = f"loading ended{after}: {type(error).__name__}: {error}"

    def table(self) -> str:
        """A line a step, with the memory after it; steps within another are indented."""
        total = sum(report.seconds for report in self.steps if not report.inside)
        rows = [_HEADINGS, *(self._row(report) for report in self.steps)]
        rows.append(("total", "", "", f"{total:.2f}", "", ""))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if index < _TEXT_COLUMNS else cell.rjust(width)
                for index, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        )

    def plain(self) -> dict[str, Any]:
        """For JSON. steps: bytes, seconds and memory in bytes; failed, late: names of
        steps; problem: in words, for an error outside the steps too."""
        failed = self.failed
        return {
            "model_dir": str(self._model_dir),
            "steps": [
                {
                    "step": report.step,
                    "inside": report.inside,
                    "file": str(report.path) if report.path else None,
                    "bytes": report.nbytes,
                    "seconds": round(report.seconds, 4),
                    "resident_bytes": report.memory.resident,
                    "gpu_bytes": report.memory.gpu,
                }
                for report in self.steps
            ],
            "late": sorted({report.step for report in self.late}),
            "failed": failed.step if failed else None,
            "problem": self.problem or None,
            "examine": failed.doctor if failed else None,
        }

    def _row(self, report: Report) -> tuple[str, ...]:
        memory = report.memory
        late = any(r.step == report.step for r in self.late)
        mark = " (failed)" if report.kind == "failed" else " (late)" if late else ""
        return (
            f"{'  ' if report.inside else ''}{report.step}{mark}",
            self._file(report.path),
            f"{report.nbytes / 1e6:.1f}" if report.path else "",
            f"{report.seconds:.2f}",
            f"{memory.resident >> 20}",
            "" if memory.gpu is None else f"{memory.gpu >> 20}",
        )

    def _file(self, path: Path | None) -> str:
        if path is None:
            return ""
        inside = path.is_relative_to(self._model_dir)
        return str(path.relative_to(self._model_dir) if inside else path)
