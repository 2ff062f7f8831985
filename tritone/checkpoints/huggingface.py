"""Hugging Face as a hub, through huggingface_hub (0.34 to 2.x)."""

from pathlib import Path

from tritone.checkpoints.hub import NO_ANSWER, HubFailed, Listing, failure, optional_library
from tritone.checkpoints.release import ReleaseFile

_LISTING_TIMEOUT = 30.0  # seconds


class HuggingFace:
    """Files of huggingface.co, or of the endpoint that HF_ENDPOINT names.

    The library's hf_hub_download drops what it has of a file when it is interrupted
    (huggingface_hub pull request 4228); its http_get goes on where the file ends.
    """

    title = "Hugging Face"

    def __init__(self, endpoint: str | None = None) -> None:
        """Raises HubFailed where huggingface_hub is not installed."""
        self._hub = optional_library("huggingface_hub", self.title)
        self._files = optional_library("huggingface_hub.file_download", self.title)
        errors = optional_library("huggingface_hub.errors", self.title)
        # The base of HTTP errors of the client that this version uses (requests or httpx).
        self._errors = (OSError, errors.HTTPError)
        self._endpoint = endpoint

    def list_files(self, repo_id: str, revision: str) -> Listing:
        try:
            info = self._hub.HfApi(endpoint=self._endpoint).model_info(
                repo_id, revision=revision, files_metadata=True, timeout=_LISTING_TIMEOUT
            )
        except (*self._errors, *NO_ANSWER) as error:
            raise self._failure(f"{repo_id} at {revision}", error) from error
        found = {
            sibling.rfilename: ReleaseFile(
                sibling.rfilename,
                sibling.size or 0,
                sibling.lfs.sha256 if sibling.lfs else None,
            )
            for sibling in info.siblings or ()
        }
        return Listing(info.sha, found)

    def fetch(self, repo_id: str, revision: str, file: ReleaseFile, folder: Path) -> None:
        target = folder / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(target.name + ".partial")
        if partial.is_file() and partial.stat().st_size > file.size:
            partial.unlink()
        url = self._hub.hf_hub_url(repo_id, file.name, revision=revision, endpoint=self._endpoint)
        # Compressed bytes cannot be counted against the size, nor continued.
        headers = {**self._hub.utils.build_hf_headers(), "Accept-Encoding": "identity"}
        try:
            with partial.open("ab") as stream:
                self._files.http_get(
                    url,
                    stream,
                    resume_size=stream.tell(),
                    headers=headers,
                    expected_size=file.size,
                    displayed_filename=file.name,
                )
        except self._errors as error:
            raise self._failure(f"{file.name} of {repo_id} at {revision}", error) from error
        partial.replace(target)

    def _failure(self, what: str, error: Exception) -> HubFailed:
        response = getattr(error, "response", None)
        status = None if response is None else int(response.status_code)
        return failure(self.title, what, status, error)
