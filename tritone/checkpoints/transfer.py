"""One file from a hub to its place, and what must agree before and after."""

from collections.abc import Sequence
from pathlib import Path

from tritone.checkpoints.hub import Hub, HubFailed, Listing
from tritone.checkpoints.release import ReleaseFile, Repository
from tritone.checkpoints.verify import file_problem


def compare_listing(
    title: str, repository: Repository, listing: Listing, files: Sequence[ReleaseFile]
) -> None:
    """Raise HubFailed for the first file that the hub states to lack, or to have another of."""
    where = f"{title}: {repository.repo_id} at {repository.revision}"
    for file in files:
        listed = listing.files.get(file.name)
        if listed is None:
            raise HubFailed(f"{where} has no {file.name}; use the other --source")
        digests = {listed.sha256, file.sha256} - {None}
        if listed.size != file.size or len(digests) > 1:
            raise HubFailed(
                f"{where} now has another {file.name} than the release ({listed.size} bytes, "
                f"SHA-256 {listed.sha256}; released: {file.size}, {file.sha256}); use the other "
                "--source"
            )


def transfer_file(
    hub: Hub, repository: Repository, file: ReleaseFile, staging: Path, folder: Path
) -> None:
    """Fetch one file into `staging`, verify it, and only then give it its place in `folder`.

    Raises HubFailed; a file that arrived wrong is removed, an interrupted one stays for resuming.
    """
    staged = staging / file.name
    problem = file_problem(staged, file)  # it is there after a stop during verification
    if problem:
        staged.unlink(missing_ok=True)
        hub.fetch(repository.repo_id, repository.revision, file, staging)
        problem = file_problem(staged, file)
    if problem:
        staged.unlink(missing_ok=True)
        raise HubFailed(
            f"{hub.title}: {file.name} arrived damaged: it {problem}; run the same command again "
            "or use the other --source"
        )
    target = folder / file.name
    target.parent.mkdir(parents=True, exist_ok=True)
    staged.replace(target)
