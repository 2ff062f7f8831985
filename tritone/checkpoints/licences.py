"""Licences of released files: those that have to be accepted, and the page that goes with a model.

The page says what applies to which file. It is no copy of the licences: what came with the download
is copied beside it, and holds.
"""

import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from tritone.checkpoints.atomic_write import write_bytes, written_whole
from tritone.errors import InvalidRequest

PAGE = "LICENCES.txt"
TEXTS = "licences"  # the folder of those that came with the release

OPTION = "--accept-licence"


@dataclass(frozen=True)
class Licence:
    """name: as it is accepted by. origin: whose files. files: what they are in a model directory.
    terms: the main ones, in a sentence. accepted: whether it has to be."""

    name: str
    origin: str
    files: tuple[str, ...]
    terms: str
    accepted: bool = False


def check_accepted(licences: Sequence[Licence], accepted: Collection[str]) -> None:
    """Raises InvalidRequest that tells the terms of each licence that was not accepted, and for a
    name that is none of theirs."""
    asked = {licence.name: licence for licence in licences if licence.accepted}
    if unknown := sorted(set(accepted) - asked.keys()):
        known = ", ".join(asked) or "none"
        raise InvalidRequest(OPTION, f"{unknown[0]!r} has not to be accepted; there is {known}")
    missing = [licence for name, licence in asked.items() if name not in accepted]
    if missing:
        terms = "; ".join(f"{one.name} ({one.origin}): {one.terms}" for one in missing)
        options = " ".join(f"{OPTION} {one.name}" for one in missing)
        make = f'with make model RELEASE=... RELEASED=..., LICENCES="{" ".join(asked)}"'
        raise InvalidRequest(
            OPTION, f"read and accept first: {terms}. Then add ({make}): {options}"
        )


def write_licences(model_dir: Path, licences: Sequence[Licence], released: Path) -> None:
    """The page, and copies of the licence texts that lie in the released folder."""
    texts = sorted(p for p in released.glob("*LICENSE*") if p.is_file())
    for text in texts:
        (model_dir / TEXTS).mkdir(exist_ok=True)
        with written_whole(model_dir / TEXTS / text.name) as path:
            shutil.copyfile(text, path)
    lines = [
        "Licences of the files in this directory, in short. The licences themselves hold.",
        *(f"Their texts, as they came with the release: {TEXTS}/{text.name}" for text in texts),
    ]
    for licence in licences:
        said = "accepted when this was converted" if licence.accepted else "nothing to accept"
        lines += [
            "",
            f"{licence.name}: {licence.origin}",
            f"  files: {', '.join(licence.files)}",
            f"  {licence.terms}",
            f"  {said}",
        ]
    write_bytes(model_dir / PAGE, ("\n".join(lines) + "\n").encode())
