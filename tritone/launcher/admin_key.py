"""The key of the protocols that change a server, or have it read memory of this machine."""

from functools import cached_property
from pathlib import Path

from tritone.launcher.operator_key import key_of

HEADER = "tritone-admin-key"

# What stays open is needed to speak: health, metadata, inference, and what clients and `tritone
# top` read of models, their configuration and statistics.
PROTOCOLS = ("model-repository", "shared-memory", "trace", "logging")


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
        return key_of("--admin-key-file", self._file)

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
