"""Filling a directory with the files of a release, from local caches and from the hubs."""

import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from tritone.checkpoints.disk import bytes_below, link_or_copy, require_space, writing
from tritone.checkpoints.download_record import Record, RecordedFile, read_record, write_record
from tritone.checkpoints.hub import Hub, HubFailed
from tritone.checkpoints.huggingface import HuggingFace
from tritone.checkpoints.modelscope import ModelScope
from tritone.checkpoints.places import Place, offline_report, places, usable_copy
from tritone.checkpoints.release import HubName, Release, ReleaseFile, Repository
from tritone.checkpoints.transfer import compare_listing, transfer_file
from tritone.checkpoints.verify import sha256_of, verify
from tritone.errors import InvalidRequest, ModelDirectoryError

SourceName = Literal["auto", "modelscope", "huggingface"]

logger = logging.getLogger(__name__)


def open_hub(name: HubName) -> Hub:
    """The hub of that name; raises HubFailed where its library is not installed."""
    return ModelScope() if name == "modelscope" else HuggingFace()


class Download:
    """One directory to be filled with one release.

    source: the hub to use; `auto` tries them in the release's order. revision: of that hub, None
    for the pinned files. offline: use nothing but this machine.
    """

    def __init__(
        self,
        release: Release,
        folder: Path,
        source: SourceName = "auto",
        revision: str | None = None,
        offline: bool = False,
        hub: Callable[[HubName], Hub] = open_hub,
    ) -> None:
        """Raises InvalidRequest for a revision without the hub that it belongs to."""
        if revision is not None and source == "auto":
            raise InvalidRequest(
                "revision", f"{revision!r} belongs to one hub; name it with --source"
            )
        self._release, self._folder = release, folder
        self._source, self._revision = source, revision
        self._offline, self._hub = offline, hub
        self._origins: dict[str, str] = {}

    def run(self) -> tuple[ReleaseFile, ...]:
        """Bring what is missing or wrong; the files, all verified.

        Raises ModelDirectoryError, naming each file, when offline and not everything is there;
        HubFailed when no hub gives the rest; EnvironmentProblem for a disk that is full, closed
        or in use. What has arrived by then is kept, and the next run goes on from there.
        """
        files = self._expected_files()
        wrong = {finding.file for finding in verify(self._folder, files)}
        missing = [file for file in files if file.name in wrong]
        old = read_record(self._folder)
        recorded = old is not None and old.revision == self._revision
        if not missing and (recorded or self._revision is None):
            return files
        cached = self._cached(missing)
        left = [file for file in missing if file.name not in cached]
        if left and self._offline:
            raise ModelDirectoryError(offline_report(self._release, self._folder, left))
        with writing(self._folder) as staging:
            for name, (place, path) in cached.items():
                logger.info("%s: taken from %s", name, path)
                link_or_copy(path, self._folder / name, staging)
                self._origins[name] = place.title
            if left:
                self._fetch(left, staging)
            self._write_record(files, old)
            shutil.rmtree(staging, ignore_errors=True)
        return files

    def _expected_files(self) -> tuple[ReleaseFile, ...]:
        if self._revision is None:
            return self._release.files
        if self._offline:
            record = read_record(self._folder)
            if record is None or record.revision != self._revision:
                raise ModelDirectoryError(
                    f"{self._folder} has no record of revision {self._revision}, so offline mode "
                    "cannot tell whether its files are right: run once without --offline"
                )
            return record.release_files()
        (repository,) = self._repositories()
        listing = self._hub(repository.hub).list_files(repository.repo_id, repository.revision)
        for file in self._release.files:
            if file.name not in listing.files:
                raise HubFailed(
                    f"{repository.repo_id} has no {file.name} at {repository.revision}; "
                    "check --revision"
                )
        return tuple(listing.files[file.name] for file in self._release.files)

    def _repositories(self) -> list[Repository]:
        chosen = [r for r in self._release.repositories if self._source in ("auto", r.hub)]
        if self._revision is None:
            return chosen
        return [Repository(r.hub, r.repo_id, self._revision) for r in chosen]

    def _cached(self, files: Sequence[ReleaseFile]) -> dict[str, tuple[Place, Path]]:
        """By file name: the cache that has it and where; files that no cache has are left out."""
        found = {}
        for file in files:
            copies = ((place, usable_copy(place, file)) for place in places(self._release))
            taken = next(((place, path) for place, path in copies if path), None)
            if taken:
                found[file.name] = taken
        return found

    def _fetch(self, files: Sequence[ReleaseFile], staging: Path) -> None:
        reasons: list[str] = []
        for repository in self._repositories():
            left = [file for file in files if file.name not in self._origins]
            if reasons:
                logger.warning("%s\ntrying %s instead", reasons[-1], repository.hub)
            try:
                self._fetch_from(repository, left, staging / repository.hub)
            except HubFailed as error:
                reasons.append(str(error))
            else:
                return
        raise HubFailed("\n".join(reasons))

    def _fetch_from(
        self, repository: Repository, files: Sequence[ReleaseFile], staging: Path
    ) -> None:
        size = sum(file.size for file in files)
        require_space(self._folder, max(0, size - bytes_below(staging)))
        hub = self._hub(repository.hub)
        listing = hub.list_files(repository.repo_id, repository.revision)
        compare_listing(hub.title, repository, listing, files)
        # A branch may move between two files; a commit does not.
        revision = listing.commit or repository.revision
        for number, file in enumerate(files, 1):
            logger.info(
                "%s: %.1f MB from %s (%d of %d)",
                *(file.name, file.size / 1e6, hub.title, number, len(files)),
            )
            source = Repository(repository.hub, repository.repo_id, revision)
            transfer_file(hub, source, file, staging, self._folder)
            self._origins[file.name] = f"{hub.title} {repository.repo_id} {revision}"

    def _write_record(self, files: Sequence[ReleaseFile], old: Record | None) -> None:
        recorded = {}
        for file in files:
            digest = file.sha256 or sha256_of(self._folder / file.name)
            before = old.files.get(file.name) if old else None
            same = before is not None and before.sha256 == digest
            origin = before.origin if before and same else "found in the directory"
            recorded[file.name] = RecordedFile(
                size=file.size, sha256=digest, origin=self._origins.get(file.name, origin)
            )
        record = Record(release=self._release.name, revision=self._revision, files=recorded)
        write_record(self._folder, record)
