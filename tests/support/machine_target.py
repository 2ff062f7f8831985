"""What the tests of the doctor's machine group share."""

from pathlib import Path

from tritone.diagnostics.doctor.catalogue import GENERAL
from tritone.diagnostics.doctor.check import Check
from tritone.diagnostics.doctor.target import Target

MIB = 2**20
GIB = 2**30


def check(name: str) -> Check:
    return next(c for c in GENERAL if c.name == f"machine.{name}")


def target_in(folder: Path) -> Target:
    """A target whose model directory, cache and shared memory are empty folders."""
    for name in ("model", "cache", "shm"):
        (folder / name).mkdir()
    (folder / "model" / "config.json").write_text("{}")
    return Target(
        model_dir=folder / "model",
        cache_dir=folder / "cache",
        shm_dir=folder / "shm",
        http_port=1,
    )
