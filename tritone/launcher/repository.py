"""Triton's model repository API over HTTP, open only to who knows this server's key.

The key is on the server's command line: it keeps clients out, not other users of this machine.
"""

import json
import secrets
import urllib.error
import urllib.request
from collections.abc import Sequence

_HEADER = "tritone-launcher-key"


class ModelRepository:
    """The repository of one server at `url`, whose command line has `arguments`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._key = secrets.token_urlsafe(24)

    def arguments(self, models: Sequence[str]) -> list[str]:
        """What makes `tritonserver` load these models, all of them for none, and obey this object
        alone in unloading."""
        restriction = f"model-repository:{_HEADER}={self._key}"
        return [
            "--model-control-mode=explicit",
            *(f"--load-model={name}" for name in models or ("*",)),
            f"--http-restricted-api={restriction}",
            f"--grpc-restricted-protocol={restriction}",
        ]

    def unload(self, model: str) -> bool:
        """Have the model refuse new requests and end after those it has; False if that failed."""
        return self._post(f"models/{model}/unload") is not None

    def is_loaded(self, model: str) -> bool:
        """Whether the model is there still, say for its last requests; False on any failure."""
        answer = self._post("index")
        if answer is None:
            return False
        states = {entry["name"]: entry.get("state") for entry in json.loads(answer)}
        return states.get(model) not in (None, "UNAVAILABLE")

    def _post(self, path: str) -> bytes | None:
        request = urllib.request.Request(
            f"{self._url}/v2/repository/{path}",
            data=b"{}",
            headers={_HEADER: self._key, "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return bytes(answer.read())
        except (urllib.error.URLError, OSError):
            return None
