"""Where the hubs' own libraries keep what they downloaded before.

Layouts: huggingface_hub has <hub cache>/models--OWNER--NAME/snapshots/COMMIT; modelscope since 1.38
has <cache>/models/OWNER--NAME/snapshots/REVISION, and before that directories named OWNER/NAME with
___ for a dot, in the cache or in its subdirectory hub (modelscope_hub, DownloadManager).
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tritone import resources
from tritone.checkpoints.release import Release, ReleaseFile, Repository
from tritone.checkpoints.verify import file_problem

OFFLINE_VARIABLES = ("HF_HUB_OFFLINE", "MODELSCOPE_OFFLINE")


@dataclass(frozen=True)
class Place:
    """The cache of a hub. variables: those that move it. patterns: of folders below `folder`, which
    hold the repository of a part of the release."""

    title: str
    folder: Path
    variables: str
    patterns: list[str]
    part: str

    def copies(self, file: ReleaseFile) -> Iterator[Path]:
        """Every copy of a file of the release that lies here, whatever its content."""
        for pattern in self.patterns if file.part == self.part else ():
            for folder in sorted(self.folder.glob(pattern)):
                if (folder / file.remote_name).is_file():
                    yield folder / file.remote_name

    def usable_copy(self, file: ReleaseFile) -> Path | None:
        """A copy that is right; only a digest can tell that, for a cache holds any revision."""
        if file.sha256 is None:
            return None
        return next((p for p in self.copies(file) if not file_problem(p, file)), None)


def places(release: Release) -> list[Place]:
    """The caches in which a file of `release` may lie, as the environment places them now."""
    return [_cache(repository) for repository in release.repositories]


def offline_report(release: Release, folder: Path, missing: Sequence[ReleaseFile]) -> str:
    """What is wrong with each missing file, in the directory and in every cache, and what to do."""
    caches = places(release)
    lines = [
        f"{len(missing)} of the {len(release.files)} files of {release.name} cannot be used, and "
        "offline mode downloads nothing:"
    ]
    for file in missing:
        lines.append(f"  {folder / file.name} {file_problem(folder / file.name, file)}")
        copies = (path for place in caches for path in place.copies(file))
        lines += [f"    {path} {file_problem(path, file)}" for path in copies]
    lines.append(f"looked in {folder} (--dir)")
    looked = [f"looked in {p.folder} ({p.title}; {p.variables} moves it)" for p in caches]
    lines += dict.fromkeys(looked)
    variable = offline_variable()
    online = f"unset {variable} and run again" if variable else "run again without --offline"
    lines.append(f"{online} to fetch them, or copy them into {folder}")
    return "\n".join(lines)


def offline_variable() -> str | None:
    """The variable of the environment that forbids downloads, if one does."""
    yes = ("1", "ON", "YES", "TRUE")  # as huggingface_hub reads its variables
    return next((v for v in OFFLINE_VARIABLES if os.environ.get(v, "").upper() in yes), None)


def _cache(repository: Repository) -> Place:
    owner, name = repository.repo_id.split("/")
    home = resources.home() / ".cache"
    if repository.hub == "modelscope":
        title, variables = "ModelScope cache", "MODELSCOPE_CACHE"
        root: str | Path = os.environ.get("MODELSCOPE_CACHE") or home / "modelscope"
        old = f"{owner}/{name.replace('.', '___')}"
        parents = ("models/", "hub/models/", "hub/", "")
        patterns = [f"models/{owner}--{name}/snapshots/*", *(f"{p}{old}" for p in parents)]
    else:
        title, variables = "Hugging Face cache", "HF_HUB_CACHE or HF_HOME"
        home = Path(os.environ.get("XDG_CACHE_HOME") or home)
        root = Path(os.environ.get("HF_HOME") or home / "huggingface") / "hub"
        root = os.environ.get("HF_HUB_CACHE") or root
        patterns = [f"models--{owner}--{name}/snapshots/*"]
    return Place(
        title, Path(os.path.expandvars(root)).expanduser(), variables, patterns, repository.part
    )
