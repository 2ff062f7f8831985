"""Whose files are: what a server runs is to be changed by its user and root alone."""

import os
import stat
from pathlib import Path

from tritone.errors import EnvironmentProblem

_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def check_owner(cache_dir: Path) -> None:
    """A folder that was made where everybody may make one, such as /tmp, may be a stranger's."""
    for folder in (cache_dir.absolute(), *cache_dir.absolute().parents):
        # os.path, as pathlib raises where a folder around is closed to this user
        if not os.path.isdir(folder) or not folder.parent.stat().st_mode & stat.S_IWOTH:
            continue
        if (owner := folder.stat().st_uid) not in (0, os.getuid()):
            raise EnvironmentProblem(
                f"the cache {cache_dir}: {folder} belongs to user {owner}, who could change what "
                "this server runs; choose another --cache-dir, or set TRITONE_CACHE"
            )


def trusted(code: Path, own: int) -> Path:
    """A file of code without links in its path, which this process may run.

    The file and all folders around it belong to this user or root. The file and the next `own`
    folders can be written by their owner alone. Those above may have a group that writes, as home
    folders often do, or be open to all but sticky: what others put there is theirs, and refused.
    Raises EnvironmentProblem.
    """
    try:
        code = code.resolve(strict=True)
        for depth, place in enumerate((code, *code.parents)):
            found = place.stat()
            if found.st_uid not in (0, os.getuid()):
                raise _distrusted(code, place, f"belongs to user {found.st_uid}", "chown")
            sticky = stat.S_IWOTH if found.st_mode & stat.S_ISVTX else 0
            if found.st_mode & (_OTHERS if depth <= own else stat.S_IWOTH & ~sticky):
                raise _distrusted(code, place, "can be written by others", "chmod go-w")
    except OSError as error:
        raise EnvironmentProblem(f"{code} cannot be looked at: {error}") from error
    return code


def _distrusted(code: Path, place: Path, why: str, fix: str) -> EnvironmentProblem:
    who = f" {os.getuid()}" if fix == "chown" else ""
    where = "it" if place == code else place
    return EnvironmentProblem(
        f"{code} is not run, since {where} {why}, who could change it; {fix}{who} {place}"
    )
