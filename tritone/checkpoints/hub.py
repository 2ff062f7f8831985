"""What a hub must be able to do, and the errors of one that cannot."""

import errno
import importlib
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Protocol

from tritone.checkpoints.release import ReleaseFile
from tritone.errors import EnvironmentProblem

# What a library makes of an answer that is no hub's, such as the page of a captive portal.
NO_ANSWER = (ValueError, KeyError)
_LOCAL = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EISDIR)


class HubFailed(EnvironmentProblem):
    """One hub cannot give the files now; another one may."""


@dataclass(frozen=True)
class Listing:
    """What a hub says it has: the commit, where it tells, and its files by name."""

    commit: str | None
    files: Mapping[str, ReleaseFile]


class Hub(Protocol):
    """A place of the internet that keeps releases. Both methods raise HubFailed."""

    title: str

    def list_files(self, repo_id: str, revision: str) -> Listing:
        """Names, sizes and, where the hub states them, SHA-256 of a revision's files."""

    def fetch(self, repo_id: str, revision: str, file: ReleaseFile, folder: Path) -> None:
        """Bring `file` to folder/file.name, with a progress bar.

        The name appears when every byte is there. What came before an interruption stays beside it
        under another name, and the next call goes on from there.
        """


def optional_library(name: str, title: str) -> ModuleType:
    """Import a module of the extra `download`; raises HubFailed with the install command."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise HubFailed(
            f"{title}: the library {name.split('.')[0]} cannot be imported ({error}); "
            "pip install 'tritone[download]'"
        ) from error


def failure(title: str, what: str, status: int | None, error: Exception) -> HubFailed:
    """One line on why `what` could not be had from a hub, with the next step.

    status: of the HTTP response; None where no response came.
    Raises `error` itself where this machine's disk is at fault and not the hub.
    """
    if isinstance(error, OSError) and error.errno in _LOCAL:
        raise error
    lines = str(_root(error)).strip().splitlines() or [type(error).__name__]
    cause = f"HTTP {status}" if status else lines[0]
    return HubFailed(f"{title}: {what}: {cause}; {_next_step(status)}")


def _root(error: BaseException) -> BaseException:
    """The operating system's own error below what the libraries made of it, if there is one."""
    found, seen = error, [error]
    while (below := seen[-1].__cause__ or seen[-1].__context__) and below not in seen:
        found = below if isinstance(below, OSError) and below.errno else found
        seen.append(below)  # an error that is raised again may stand in its own history
    return found


def _next_step(status: int | None) -> str:
    if status is None:
        names = {"https": "HTTPS_PROXY", "http": "HTTP_PROXY", "all": "ALL_PROXY"}
        proxies = [names[scheme] for scheme in names if urllib.request.getproxies().get(scheme)]
        if proxies:
            return f"check the network and the proxy of {', '.join(proxies)}, then run again"
        return "check the network (set HTTPS_PROXY where it needs a proxy), then run again"
    if status in (401, 403):
        return (
            "not there, or not open to you: log in (HF_TOKEN, MODELSCOPE_API_TOKEN) or use the "
            "other --source"
        )
    if status == 404:
        return "no such repository, revision or file: check --revision"
    if status == 429:
        return "too many requests: wait some minutes or use the other --source"
    return "run again later or use the other --source"
