"""The hubs: what each must be able to do, the two that can, and the errors of one that cannot."""

import errno
import importlib
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from tritone.checkpoints.release import ReleaseFile
from tritone.errors import EnvironmentProblem

# What a library makes of an answer that is no hub's, such as the page of a captive portal.
_NO_ANSWER = (ValueError, KeyError)
_LISTING_TIMEOUT = 30.0  # seconds
_LOCAL = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EISDIR)


class HubFailed(EnvironmentProblem):
    """One hub cannot give the files now; another one may."""


@dataclass(frozen=True)
class Listing:
    """What a hub says it has: the commit, where it tells, and its files by name."""

    commit: str | None
    files: Mapping[str, ReleaseFile]


class Hub(ABC):
    """A place of the internet that keeps releases. All methods raise HubFailed.

    errors: what the library behind it raises.
    """

    title: str
    errors: tuple[type[Exception], ...]

    @abstractmethod
    def list_files(self, repo_id: str, revision: str) -> Listing:
        """Names, sizes and, where the hub states them, SHA-256 of a revision's files."""

    @abstractmethod
    def fetch(self, repo_id: str, revision: str, file: ReleaseFile, folder: Path) -> None:
        """Bring `file` to folder/file.name, with a progress bar.

        The name appears when every byte is there. What came before an interruption stays beside it
        under another name, and the next call goes on from there.
        """

    @contextmanager
    def asking(self, what: str) -> Iterator[None]:
        """The library's errors as HubFailed."""
        try:
            yield
        except self.errors as error:
            raise failure(self.title, what, error) from error


class ModelScope(Hub):
    """Files of modelscope.cn, or of the endpoint that MODELSCOPE_ENDPOINT names.

    Through modelscope_hub, which the modelscope SDK itself downloads with.
    """

    title = "ModelScope"

    def __init__(self, endpoint: str | None = None) -> None:
        library = optional_library("modelscope_hub", self.title)
        self.errors = (OSError, library.HubError, *_NO_ANSWER)
        self._api = library.HubApi(endpoint=endpoint)

    def list_files(self, repo_id: str, revision: str) -> Listing:
        with self.asking(f"{repo_id} at {revision}"):
            found = self._api.list_repo_files(repo_id, "model", revision=revision)
        files = (ReleaseFile(f.path, f.size, f.sha256 or None) for f in found if not f.is_dir)
        return Listing(None, {file.name: file for file in files})

    def fetch(self, repo_id: str, revision: str, file: ReleaseFile, folder: Path) -> None:
        where = {"revision": revision, "local_dir": folder, "file_size": file.size}
        with self.asking(f"{file.name} of {repo_id} at {revision}"):
            self._api.download_file(repo_id, "model", file.name, **where)


class HuggingFace(Hub):
    """Files of huggingface.co, or of the endpoint that HF_ENDPOINT names.

    Through huggingface_hub (0.34 to 2.x), whose hf_hub_download drops what it has of a file when it
    is interrupted (huggingface_hub pull request 4228); its http_get goes on where the file ends.
    """

    title = "Hugging Face"

    def __init__(self, endpoint: str | None = None) -> None:
        self._hub = optional_library("huggingface_hub", self.title)
        self._files = optional_library("huggingface_hub.file_download", self.title)
        # The base of HTTP errors of the client that this version uses (requests or httpx).
        http_error = optional_library("huggingface_hub.errors", self.title).HTTPError
        self.errors = (OSError, http_error, *_NO_ANSWER)
        self._endpoint = endpoint

    def list_files(self, repo_id: str, revision: str) -> Listing:
        with self.asking(f"{repo_id} at {revision}"):
            info = self._hub.HfApi(endpoint=self._endpoint).model_info(
                repo_id, revision=revision, files_metadata=True, timeout=_LISTING_TIMEOUT
            )
        files = (
            ReleaseFile(f.rfilename, f.size or 0, f.lfs.sha256 if f.lfs else None)
            for f in info.siblings or ()
        )
        return Listing(info.sha, {file.name: file for file in files})

    def fetch(self, repo_id: str, revision: str, file: ReleaseFile, folder: Path) -> None:
        target = folder / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(target.name + ".partial")
        if partial.is_file() and partial.stat().st_size > file.size:
            partial.unlink()
        url = self._hub.hf_hub_url(repo_id, file.name, revision=revision, endpoint=self._endpoint)
        # Compressed bytes cannot be counted against the size, nor continued.
        headers = {**self._hub.utils.build_hf_headers(), "Accept-Encoding": "identity"}
        about = {"headers": headers, "expected_size": file.size, "displayed_filename": file.name}
        with self.asking(f"{file.name} of {repo_id} at {revision}"), partial.open("ab") as stream:
            self._files.http_get(url, stream, resume_size=stream.tell(), **about)
        partial.replace(target)


def optional_library(name: str, title: str) -> ModuleType:
    """Import a module of the extra `download`; raises HubFailed with the install command."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise HubFailed(
            f"{title}: the library {name.split('.')[0]} cannot be imported ({error}); "
            "pip install 'tritone[download]'"
        ) from error


def failure(title: str, what: str, error: Exception) -> HubFailed:
    """One line on why `what` could not be had from a hub, with the next step.

    Raises `error` itself where this machine's disk is at fault and not the hub.
    """
    if isinstance(error, OSError) and error.errno in _LOCAL:
        raise error
    response = getattr(error, "response", None)
    status = getattr(error, "status_code", None) or getattr(response, "status_code", None)
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
    """status: of the HTTP response; None where no response came."""
    if status is None:
        names = {"https": "HTTPS_PROXY", "http": "HTTP_PROXY", "all": "ALL_PROXY"}
        proxies = [names[scheme] for scheme in names if urllib.request.getproxies().get(scheme)]
        if proxies:
            return f"check the network and the proxy of {', '.join(proxies)}, then run again"
        return "check the network (set HTTPS_PROXY where it needs a proxy), then run again"
    other = "use the other --source"
    log_in = "not there, or not open to you: log in (HF_TOKEN, MODELSCOPE_API_TOKEN) or " + other
    steps = {
        401: log_in,
        403: log_in,
        404: "no such repository, revision or file: check --revision",
        429: f"too many requests: wait some minutes or {other}",
    }
    return steps.get(status, f"run again later or {other}")
