"""tritone download: a released checkpoint, exactly the files that `tritone convert` reads."""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from tritone.checkpoints.fetch import Download
from tritone.checkpoints.places import offline_variable
from tritone.cli.command import refused, run
from tritone.errors import TritoneError
from tritone.families import all_families

RELEASES = {release.name: release for family in all_families() for release in family.releases}
USUAL = next(iter(RELEASES))

Release = Annotated[str, typer.Option(help=f"of {', '.join(sorted(RELEASES))}")]
Folder = Annotated[
    Path | None, typer.Option("--dir", help="where to put it (models/RELEASE)", metavar="DIR")
]
Source = Annotated[
    Literal["auto", "modelscope", "huggingface"],
    typer.Option(help="auto: ModelScope, and Hugging Face where that fails"),
]
Revision = Annotated[
    str | None,
    typer.Option(
        help="commit, tag or branch of the --source, other than the pinned one; its files are "
        "verified by what the hub states and recorded in download.json"
    ),
]
Offline = Annotated[
    bool,
    typer.Option(
        "--offline",
        help="download nothing: verify what is there, take what the caches of the two hubs have "
        "(also when HF_HUB_OFFLINE or MODELSCOPE_OFFLINE is set)",
    ),
]


def download(
    release: Release = USUAL,
    folder: Folder = None,
    source: Source = "auto",
    revision: Revision = None,
    offline: Offline = False,
) -> int:
    """Fetch a released checkpoint, exactly the files that are read, verified.

    ModelScope is tried first, Hugging Face second. A run resumes
    after an interruption; files that are there and right are kept. Exit
    status: 0 every file is there and verified, 1 not, 130 interrupted.
    """
    if release not in RELEASES:
        return refused(f"--release: {release!r} is none of {', '.join(sorted(RELEASES))}")
    folder = folder or Path("models") / release
    try:
        files = Download(
            RELEASES[release],
            folder,
            source=source,
            revision=revision,
            offline=offline or offline_variable() is not None,
        ).run()
    except TritoneError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; run the same command again to go on from here", file=sys.stderr)
        return 130
    size = sum(file.size for file in files) / 1e9
    print(
        f"{folder} is complete: {len(files)} files, {size:.2f} GB, verified\n"
        f"next: tritone convert {folder} {folder}-model"
    )
    return 0


def main(arguments: Sequence[str], prog: str = "tritone download") -> int:
    logging.basicConfig(format="%(message)s")
    logging.getLogger("tritone").setLevel(logging.INFO)
    return run(download, arguments, prog)
