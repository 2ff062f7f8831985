"""Filling a directory with the files of a release, from local caches and from the hubs."""

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from tqdm import tqdm

from tritone.checkpoints.disk import link_or_copy, require_space, writing
from tritone.checkpoints.hub import Hub, HubFailed, HuggingFace, Listing, ModelScope
from tritone.checkpoints.places import Place, offline_report, places
from tritone.checkpoints.release import (
    HubName,
    Record,
    RecordedFile,
    Release,
    ReleaseFile,
    Repository,
    read_record,
    write_record,
)
from tritone.checkpoints.verify import file_problem, sha256_of
from tritone.errors import InvalidRequest, ModelDirectoryError

SourceName = Literal["auto", "modelscope", "huggingface"]

logger = logging.getLogger(__name__)


def open_hub(name: HubName) -> Hub:
    """Raises HubFailed where the library of that hub is not installed."""
    return ModelScope() if name == "modelscope" else HuggingFace()


@dataclass
class Download:
    """One directory to be filled with one release.

    source: the hub to use; `auto` tries them in the release's order. revision: of that hub, None
    for the pinned files. offline: use nothing but this machine.
    Raises InvalidRequest for a revision without the hub that it belongs to, and for one of a
    release that several repositories make up.
    """

    release: Release
    folder: Path
    source: SourceName = "auto"
    revision: str | None = None
    offline: bool = False
    hub: Callable[[HubName], Hub] = open_hub

    def __post_init__(self) -> None:
        self._origins: dict[str, str] = {}
        if self.revision is not None and self.source == "auto":
            problem = f"{self.revision!r} belongs to one hub; name it with --source"
            raise InvalidRequest("revision", problem)
        if self.revision is not None and len(self.release.parts) > 1:
            count = len(self.release.parts)
            problem = f"{self.revision!r} is of one repository, and {self.release.name} is made of "
            raise InvalidRequest("revision", f"{problem}{count}; each has its own")

    def run(self) -> tuple[ReleaseFile, ...]:
        """Bring what is missing or wrong; the files, all verified.

        Raises ModelDirectoryError, naming each file, when offline and not everything is there;
        HubFailed when no hub gives the rest; EnvironmentProblem for a disk that is full, closed
        or in use. What has arrived by then is kept, and the next run goes on from there.
        """
        files = self._expected_files()
        missing = unusable(self.folder, files)
        old = read_record(self.folder)
        recorded = old is not None and old.revision == self.revision and old.states(files)
        if not missing and (recorded or (self.revision is None and self.release.pinned)):
            return files
        cached = self._cached(missing)
        left = [file for file in missing if file.name not in cached]
        if left and self.offline:
            raise ModelDirectoryError(offline_report(self.release, self.folder, left))
        with writing(self.folder) as staging:
            for name, (place, path) in cached.items():
                logger.info("%s: taken from %s", name, path)
                link_or_copy(path, self.folder / name, staging)
                self._origins[name] = place.title
            if left:
                self._fetch(left, staging)
            self._write_record(files, old)
            shutil.rmtree(staging, ignore_errors=True)
        return files

    def _expected_files(self) -> tuple[ReleaseFile, ...]:
        if self.revision is None and self.release.pinned:
            return self.release.files
        record = read_record(self.folder)
        of_this = record is not None and record.revision == self.revision
        recorded: dict[str, RecordedFile] = {}
        if record is not None and of_this and (self.offline or not self.release.pinned):
            recorded = record.files
        left = [file for file in self.release.files if file.name not in recorded]
        if left and self.offline:
            what = f"revision {self.revision}" if self.revision else self.release.name
            what = f"{left[0].name} of {what}" if recorded else what
            raise ModelDirectoryError(
                f"{self.folder} has no record of {what}, so offline mode cannot tell whether its "
                "files are right: run once without --offline"
            )
        listed = self._listed_files(left)
        return tuple(
            listed.get(file.name) or self._remembered(file, recorded[file.name])
            for file in self.release.files
        )

    def _remembered(self, file: ReleaseFile, known: RecordedFile) -> ReleaseFile:
        """What the release states of a file holds whatever the record says, but for another
        revision than the released one."""
        if self.revision is not None:
            file = replace(file, size=0, sha256=None)
        return replace(file, size=file.size or known.size, sha256=file.sha256 or known.sha256)

    def _listed_files(self, files: Sequence[ReleaseFile]) -> dict[str, ReleaseFile]:
        """By name, each as the first hub that answers for its part has it."""
        return {
            listed.name: listed
            for part in dict.fromkeys(file.part for file in files)
            for listed in self._listed_part(part, [file for file in files if file.part == part])
        }

    def _listed_part(self, part: str, files: Sequence[ReleaseFile]) -> list[ReleaseFile]:
        """Of one part alone. Raises HubFailed where no hub answers."""
        reasons: list[str] = []
        for repository in self._repositories(part):
            try:
                hub = self.hub(repository.hub)
                listing = hub.list_files(repository.repo_id, repository.revision)
                if self.revision is None:
                    return [_agreed(hub.title, repository, listing, file) for file in files]
                return [_listed(hub.title, repository, listing, file) for file in files]
            except HubFailed as error:
                reasons.append(str(error))
        raise HubFailed("\n".join(reasons))

    def _repositories(self, part: str) -> list[Repository]:
        """Those that are asked for a part. Raises HubFailed where the source does not have it."""
        known = self.release.repositories_of(part)
        chosen = [r for r in known if self.source in ("auto", r.hub)]
        if not chosen:
            raise HubFailed(
                f"{self.source} has no {part}, a part of {self.release.name}; leave out --source"
            )
        if self.revision is None:
            return chosen
        return [replace(repository, revision=self.revision) for repository in chosen]

    def _cached(self, files: Sequence[ReleaseFile]) -> dict[str, tuple[Place, Path]]:
        """By file name: the cache that has it and where; files that no cache has are left out."""
        found = {}
        for file in files:
            copies = ((place, place.usable_copy(file)) for place in places(self.release))
            taken = next(((place, path) for place, path in copies if path), None)
            if taken:
                found[file.name] = taken
        return found

    def _fetch(self, files: Sequence[ReleaseFile], staging: Path) -> None:
        for part in dict.fromkeys(file.part for file in files):
            self._fetch_part(part, files, staging)

    def _fetch_part(self, part: str, files: Sequence[ReleaseFile], staging: Path) -> None:
        reasons: list[str] = []
        for repository in self._repositories(part):
            left = [file for file in files if file.name not in self._origins]
            if reasons:
                logger.warning("%s\ntrying %s instead", reasons[-1], repository.hub)
            try:
                _require_space(self.folder, left, staging / repository.hub)
                of_part = [file for file in left if file.part == part]
                self._fetch_from(repository, of_part, staging / repository.hub)
            except HubFailed as error:
                reasons.append(str(error))
            else:
                return
        raise HubFailed("\n".join(reasons))

    def _fetch_from(
        self, repository: Repository, files: Sequence[ReleaseFile], staging: Path
    ) -> None:
        hub = self.hub(repository.hub)
        listing = hub.list_files(repository.repo_id, repository.revision)
        for file in files:
            _agreed(hub.title, repository, listing, file)
        # A branch may move between two files; a commit does not.
        source = replace(repository, revision=listing.commit or repository.revision)
        for number, file in enumerate(files, 1):
            logger.info(
                "%s: %.1f MB from %s (%d of %d)",
                *(file.name, file.size / 1e6, hub.title, number, len(files)),
            )
            self._transfer(hub, source, file, staging)
            self._origins[file.name] = f"{hub.title} {source.repo_id} {source.revision}"

    def _transfer(self, hub: Hub, source: Repository, file: ReleaseFile, staging: Path) -> None:
        """Fetch one file into `staging`, verify it, and only then give it its place.

        A file that arrived wrong is removed, an interrupted one stays for resuming. The hubs give
        files the names of their repositories, of which several may have the same one.
        """
        if file.remote_name != file.name:
            staging = staging / f"{file.name}.from"
        staged = staging / file.remote_name
        problem = file_problem(staged, file)  # it is there after a stop during verification
        if problem:
            staged.unlink(missing_ok=True)
            arriving = replace(file, name=file.remote_name)
            hub.fetch(source.repo_id, source.revision, arriving, staging)
            problem = file_problem(staged, file)
        if problem:
            staged.unlink(missing_ok=True)
            raise HubFailed(
                f"{hub.title}: {file.name} arrived damaged: it {problem}; run the same command "
                "again or use the other --source"
            )
        target = self.folder / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        staged.replace(target)

    def _write_record(self, files: Sequence[ReleaseFile], old: Record | None) -> None:
        recorded = {}
        for file in files:
            digest = file.sha256 or sha256_of(self.folder / file.name)
            before = old.files.get(file.name) if old else None
            kept = before and before.sha256 == digest and before.origin
            origin = self._origins.get(file.name, kept or "found in the directory")
            recorded[file.name] = RecordedFile(size=file.size, sha256=digest, origin=origin)
        record = Record(release=self.release.name, revision=self.revision, files=recorded)
        write_record(self.folder, record)


def _require_space(folder: Path, files: Sequence[ReleaseFile], staging: Path) -> None:
    """For all that is still to come, of which a part may have been staged before."""
    there = sum(path.stat().st_size for path in staging.rglob("*") if path.is_file())
    require_space(folder, max(0, sum(file.size for file in files) - there))


def _listed(title: str, repository: Repository, listing: Listing, file: ReleaseFile) -> ReleaseFile:
    """A file of the release as a hub states it. Raises HubFailed where it has none."""
    listed = listing.files.get(file.remote_name)
    if listed is None:
        where = f"{title}: {repository.repo_id} at {repository.revision}"
        advice = "check --revision, or use the other --source"
        raise HubFailed(f"{where} has no {file.remote_name}; {advice}")
    return replace(file, size=listed.size, sha256=listed.sha256)


def _agreed(title: str, repository: Repository, listing: Listing, file: ReleaseFile) -> ReleaseFile:
    """What is known of a file, and what a hub states. Raises HubFailed where that is another."""
    listed = _listed(title, repository, listing, file)
    digests = {listed.sha256, file.sha256} - {None}
    if file.size not in (0, listed.size) or len(digests) > 1:
        where = f"{title}: {repository.repo_id} at {repository.revision}"
        raise HubFailed(
            f"{where} now has another {file.name} than the release ({listed.size} bytes, "
            f"SHA-256 {listed.sha256}; released: {file.size}, {file.sha256}); use the other "
            "--source"
        )
    return replace(listed, sha256=next(iter(digests), None))


def unusable(folder: Path, files: Sequence[ReleaseFile]) -> list[ReleaseFile]:
    """Read every file of a release in `folder`, with a progress bar; those that are not right."""
    total = sum(file.size for file in files)
    with tqdm(total=total, unit="B", unit_scale=True, desc="verify", disable=None) as bar:
        return [file for file in files if file_problem(folder / file.name, file, bar.update)]
