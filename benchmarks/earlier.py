"""Figures that an earlier run wrote, to hold these against."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Figure
from tritone.errors import EnvironmentProblem

_ALIKE = 1.15  # peaks that differ by more are those of another machine, or of a busy one


@dataclass(frozen=True)
class Earlier:
    """values: by the names of the figures."""

    path: Path
    values: dict[str, float]

    @classmethod
    def read(cls, path: Path) -> "Earlier":
        """Raises EnvironmentProblem for a file that no run wrote."""
        try:
            rows = json.loads(path.read_text(encoding="utf-8"))["figures"]
            return cls(path, {row["name"]: float(row["value"]) for row in rows})
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise EnvironmentProblem(
                f"--against {path} cannot be read as the bench.json of another run ({error!r}): "
                "name the file that `tritone bench --out DIR` wrote into DIR"
            ) from error

    def note(self, peaks: Sequence[Figure]) -> str:
        """What is to be known of the machine before the ratios are believed; empty for nothing."""
        differ = [
            f"{one.name} {old:.3g} {one.unit} then and {one.value:.3g} now"
            for one in peaks
            if (old := self.values.get(one.name)) and max(old / one.value, one.value / old) > _ALIKE
        ]
        if not differ:
            return ""
        return (
            f"note: {self.path} is of another machine, or one of the two was busy: "
            f"{'; '.join(differ)}. Compare shares rather than seconds, or measure both again."
        )
