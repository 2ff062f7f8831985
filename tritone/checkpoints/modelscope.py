"""ModelScope as a hub, through modelscope_hub, which the modelscope SDK itself downloads with."""

from pathlib import Path

from tritone.checkpoints.hub import NO_ANSWER, HubFailed, Listing, failure, optional_library
from tritone.checkpoints.release import ReleaseFile


class ModelScope:
    """Files of modelscope.cn, or of the endpoint that MODELSCOPE_ENDPOINT names."""

    title = "ModelScope"

    def __init__(self, endpoint: str | None = None) -> None:
        """Raises HubFailed where modelscope_hub is not installed."""
        library = optional_library("modelscope_hub", self.title)
        self._errors = (OSError, library.HubError)
        self._api = library.HubApi(endpoint=endpoint)

    def list_files(self, repo_id: str, revision: str) -> Listing:
        try:
            found = self._api.list_repo_files(repo_id, "model", revision=revision)
        except (*self._errors, *NO_ANSWER) as error:
            raise self._failure(f"{repo_id} at {revision}", error) from error
        files = {
            entry.path: ReleaseFile(entry.path, entry.size, entry.sha256 or None)
            for entry in found
            if not entry.is_dir
        }
        return Listing(None, files)

    def fetch(self, repo_id: str, revision: str, file: ReleaseFile, folder: Path) -> None:
        try:
            self._api.download_file(
                repo_id,
                "model",
                file.name,
                revision=revision,
                local_dir=folder,
                file_size=file.size,
            )
        except self._errors as error:
            raise self._failure(f"{file.name} of {repo_id} at {revision}", error) from error

    def _failure(self, what: str, error: Exception) -> HubFailed:
        return failure(self.title, what, getattr(error, "status_code", None), error)
