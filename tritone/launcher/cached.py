"""Folders in the launcher's cache: made whole, and once, whoever asks at the same time."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tritone.errors import EnvironmentProblem


@contextmanager
def made_at_once(target: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `target` when the block ends; a rival that was faster wins.

    Raises EnvironmentProblem when the cache cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=target.parent, prefix=".draft-"))
    except OSError as error:
        raise EnvironmentProblem(
            f"cannot write to {target.parent} ({error.strerror}); choose another --cache-dir"
        ) from error
    try:
        yield draft
        draft.rename(target)
    except OSError:
        if not target.is_dir():
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
