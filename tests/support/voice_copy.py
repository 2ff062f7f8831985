"""A copy of the embedded voice, for faults to be planted in."""

import json
import shutil
from pathlib import Path

from paths import EMBEDDED

from tritone.diagnostics.doctor.catalogue import GENERAL, chosen
from tritone.diagnostics.doctor.check import Finding
from tritone.diagnostics.doctor.child import ANSWER, REFUSED
from tritone.diagnostics.doctor.isolated import Outcome
from tritone.diagnostics.doctor.target import Target
from tritone.errors import ModelDirectoryError
from tritone.families import doctor as of_families
from tritone.families.cosyvoice2 import doctor

EVERY = (*of_families.CHECKS, *GENERAL, *doctor.CHECKS)
CHECKS = {check.name: check for check in chosen(EVERY, ["model"])}


def voice_copy(folder: Path) -> Target:
    """What is examined: a copy below a folder, without what was built from it."""
    ignored = shutil.ignore_patterns("onnx")
    return Target(model_dir=shutil.copytree(EMBEDDED, folder / "voice", ignore=ignored))


def found(name: str, target: Target) -> Finding:
    return CHECKS[name](target)


def change_config(target: Target, **changes: object) -> None:
    content = json.dumps({**target.config, **changes})
    (target.model_dir / "config.json").write_text(content)


def change_section(target: Target, **changes: object) -> None:
    """Change what config.json says of the checkpoint."""
    change_config(target, **{target.family: {**target.section, **changes}})


def in_this_process(function, *arguments: str, limit_s: float) -> Outcome:
    """As `doctor.isolated.call`, but in this process, which has torch already."""
    try:
        return Outcome(0, 0.0, f"{ANSWER}{json.dumps(function(*arguments))}", "")
    except ModelDirectoryError as error:
        return Outcome(REFUSED, 0.0, "", str(error))
