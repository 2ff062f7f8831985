"""What a folder is that should be a model directory, and how to make it one."""

from collections.abc import Iterable
from pathlib import Path

from tritone.diagnostics.doctor.target import Target

_RELEASED = ("*.pt", "*.pth", "*.bin", "*.yaml", "*.safetensors")


def is_release(folder: Path) -> bool:
    """Whether it holds weights as they are released, and nothing that was converted."""
    released = any(any(folder.glob(pattern)) for pattern in _RELEASED)
    return released and not (folder / "config.json").is_file()


def no_model(target: Target) -> str:
    """Why there is no model directory to look at; empty if there is one."""
    folder = target.model_dir
    if not folder.is_dir():
        return f"{folder} does not exist"
    there = (folder / "config.json").is_file()
    return "" if there else f"{folder} is no model directory: model.config says more"


def missing(folder: Path, wanted: Iterable[str]) -> list[str]:
    """Those of the named files that are not there."""
    return [name for name in wanted if not (folder / name).is_file()]


def convert(source: Path | str = "RELEASE_DIR", target: Path | str = "MODEL_DIR") -> str:
    """The command that makes a model directory of a release."""
    return f"python tritone convert {source} {target}"
