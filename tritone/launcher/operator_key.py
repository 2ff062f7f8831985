"""Keys of a server: the operator's, out of a file, or one that each start makes anew."""

import re
import secrets
from pathlib import Path

from tritone.errors import EnvironmentProblem
from tritone.launcher.settings import ServerSettings

_KEY = re.compile(r"[A-Za-z0-9_-]{16,128}")


def key_of(option: str, file: Path | None) -> str:
    """The key in the file that the option names; without one, a key that nobody else knows.

    Raises EnvironmentProblem for a file that holds no key.
    """
    if file is None:
        return secrets.token_urlsafe(24)
    try:
        key = file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        raise EnvironmentProblem(
            f"{option}: {file}: {error.strerror}; name a file that this user can read"
        ) from error
    if not _KEY.fullmatch(key):
        raise EnvironmentProblem(
            f"{option}: {file} holds {len(key)} characters that are no key; 16 to 128 letters, "
            "digits, - and _ are needed, such as: openssl rand -hex 24"
        )
    return key


def inner_key_of(settings: ServerSettings) -> str:
    """Of a server's inner models; empty where they are open. Raises EnvironmentProblem."""
    if settings.open_inner_models and settings.inner_key_file:
        raise EnvironmentProblem("--open-inner-models needs no --inner-key-file; leave one out")
    if settings.open_inner_models:
        return ""
    return key_of("--inner-key-file", settings.inner_key_file)
