"""A whole folder of IndexTTS2 in a checkout of upstream, for faults to be planted in.

Every file has its released size, as a hole: nothing of it takes room on the disk.
"""

import json
from pathlib import Path

import pytest

from tritone.diagnostics.doctor.check import Finding
from tritone.diagnostics.doctor.checks.gpu.driver import Driver
from tritone.diagnostics.doctor.target import Target
from tritone.families.indextts2 import build_state, doctor
from tritone.families.indextts2.release_folder import AUXILIARY, FAMILY, RELEASED, Part

CHECKS = {check.name: check for check in doctor.CHECKS}
KERNEL = "s2mel/modules/bigvgan/alias_free_activation/cuda/build"


def whole_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    """A checkout with the package and the folder; no GPU, and caches of their own."""
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "torch_extensions"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(build_state.tempfile, "gettempdir", lambda: str(tmp_path))
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    set_gpu(monkeypatch, None)
    checkout = tmp_path / "index-tts"
    (checkout / "indextts" / "utils").mkdir(parents=True)
    (checkout / "indextts" / KERNEL).mkdir(parents=True)
    folder = checkout / "checkpoints"
    for part in (*RELEASED, *AUXILIARY):
        put(folder, part)
    return Target(releases={FAMILY: folder})


def put(folder: Path, part: Part) -> None:
    path = folder / part.file
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".json":
        path.write_text("{}".ljust(part.size))
        return
    with path.open("wb") as file:
        if path.suffix == ".safetensors":
            entry = {"dtype": "U8", "shape": [part.size], "data_offsets": [0, part.size]}
            header = json.dumps({"weight": entry}).encode()
            header += b" " * (-len(header) % 8)
            file.write(len(header).to_bytes(8, "little") + header)
            file.truncate(file.tell() + part.size)
        else:
            file.truncate(part.size)


def found(name: str, target: Target) -> Finding:
    return CHECKS[f"indextts2.{name}"](target)


def folder_of(target: Target) -> Path:
    return target.releases[FAMILY]


def set_gpu(monkeypatch: pytest.MonkeyPatch, free_mib: int | None) -> None:
    """A GPU of 24 GiB with so much free; None for no driver."""
    driver = Driver((12, 8), (), (free_mib << 20, 24 << 30) if free_mib is not None else None)
    for module in (doctor, build_state):
        monkeypatch.setattr(module, "has_driver", lambda: free_mib is not None)
    monkeypatch.setattr(doctor, "ask_driver", lambda **_: driver)
