"""A copy of the embedded voice, for faults to be planted in."""

import json
import shutil
from pathlib import Path

from paths import EMBEDDED

from tritone.diagnostics.doctor.catalogue import GENERAL, chosen
from tritone.diagnostics.doctor.finding import Finding
from tritone.diagnostics.doctor.target import Target
from tritone.families.cosyvoice2 import doctor

CHECKS = {check.name: check for check in (*chosen(GENERAL, ["model"]), *doctor.CHECKS)}


def voice_copy(folder: Path) -> Target:
    """What is examined: a copy below a folder, without what was built from it."""
    ignored = shutil.ignore_patterns("onnx")
    return Target(model_dir=shutil.copytree(EMBEDDED, folder / "voice", ignore=ignored))


def found(name: str, target: Target) -> Finding:
    return CHECKS[name](target)


def change_config(target: Target, **changes: object) -> None:
    path = target.model_dir / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
