"""Folders in the launcher's cache: made whole, and once, whoever asks at the same time."""

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from tritone.errors import EnvironmentProblem


def cached(parent: Path, contents: bytes, fill: Callable[[Path], None]) -> Path:
    """The folder in `parent` that is named after `contents`; `fill` makes one that is not there.

    It appears complete by one rename and never changes after, so concurrent starts and later
    versions cannot harm each other: a rival that was faster wins. Raises EnvironmentProblem when
    the cache cannot be written.
    """
    target = parent / hashlib.sha256(contents).hexdigest()[:16]
    if target.is_dir():
        return target
    try:
        parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=parent, prefix=".draft-"))
    except OSError as error:
        raise EnvironmentProblem(
            f"cannot write to {parent} ({error.strerror}); choose another --cache-dir"
        ) from error
    try:
        fill(draft)
        draft.rename(target)
    except OSError:
        if not target.is_dir():
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target
