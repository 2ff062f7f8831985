"""The key of the protocols that change a server, or have it read memory of this machine."""

import re
import secrets
from functools import cached_property
from pathlib import Path

from tritone.errors import EnvironmentProblem

HEADER = "tritone-admin-key"

# What stays open is needed to speak: health, metadata, inference, and what clients and `tritone
# top` read of models, their configuration and statistics.
PROTOCOLS = ("model-repository", "shared-memory", "trace", "logging")

_KEY = re.compile(r"[A-Za-z0-9_-]{16,128}")


class AdminKey:
    """file: holds the operator's key; None makes a key that nobody else knows.

    Triton takes the key on its command line alone, which other users of this machine can read. So
    it keeps clients out, not them.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file

    @cached_property
    def _key(self) -> str:
        """Raises EnvironmentProblem for a file that holds no key."""
        option = f"--admin-key-file: {self._file}"
        if self._file is None:
            return secrets.token_urlsafe(24)
        try:
            key = self._file.read_text(encoding="utf-8", errors="replace").strip()
        except OSError as error:
            raise EnvironmentProblem(
                f"{option}: {error.strerror}; name a file that this user can read"
            ) from error
        if not _KEY.fullmatch(key):
            raise EnvironmentProblem(
                f"{option} holds {len(key)} characters that are no key; 16 to 128 letters, digits, "
                "- and _ are needed, such as: openssl rand -hex 24"
            )
        return key

    def arguments(self) -> list[str]:
        """What closes these protocols, on both services, to who does not send the key."""
        restriction = f"{','.join(PROTOCOLS)}:{HEADER}={self._key}"
        return [
            f"--http-restricted-api={restriction}",
            f"--grpc-restricted-protocol={restriction}",
        ]

    @property
    def headers(self) -> dict[str, str]:
        """Of a request over HTTP."""
        return {HEADER: self._key}
