"""tritone download: a released checkpoint, exactly the files that `tritone convert` reads."""

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from tritone.checkpoints.fetch import Download, SourceName
from tritone.checkpoints.licences import OPTION, check_accepted
from tritone.checkpoints.places import offline_variable
from tritone.cli.command import refused
from tritone.cli.options import Accepted
from tritone.errors import TritoneError
from tritone.families import all_families

RELEASES = {release.name: release for family in all_families() for release in family.releases}
LICENCES = {
    release.name: family.licences for family in all_families() for release in family.releases
}
USUAL = next(iter(RELEASES))

Folder = Annotated[
    Path | None, typer.Option("--dir", help="where to put it (models/RELEASE)", metavar="DIR")
]
Source = Annotated[
    SourceName, typer.Option(help="auto: ModelScope, and Hugging Face where that fails")
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
    release: Annotated[str, typer.Option(help=f"of {', '.join(sorted(RELEASES))}")] = USUAL,
    folder: Folder = None,
    source: Source = "auto",
    revision: Revision = None,
    offline: Offline = False,
    accept_licence: Accepted = [],  # noqa: B006
) -> int:
    """Fetch a released checkpoint, exactly the files that are read, verified.

    ModelScope is tried first, Hugging Face second. A run resumes
    after an interruption; files that are there and right are kept. Exit
    status: 0 every file is there and verified, 1 not, 130 interrupted.
    """
    logging.basicConfig(format="%(message)s")
    logging.getLogger("tritone").setLevel(logging.INFO)
    if release not in RELEASES:
        return refused(f"--release: {release!r} is none of {', '.join(sorted(RELEASES))}")
    folder = folder or Path("models") / release
    offline = offline or offline_variable() is not None
    try:
        check_accepted(LICENCES.get(release, ()), accept_licence)
        files = Download(RELEASES[release], folder, source, revision, offline).run()
    except TritoneError as error:
        return refused(error, 1)
    except KeyboardInterrupt:
        print("\nstopped; run the same command again to go on from here", file=sys.stderr)
        return 130
    size = sum(file.size for file in files) / 1e9
    accepted = "".join(f" {OPTION} {name}" for name in accept_licence)
    print(
        f"{folder} is complete: {len(files)} files, {size:.2f} GB, verified\n"
        f"next: tritone convert {folder} {folder}-model{accepted}"
    )
    return 0
