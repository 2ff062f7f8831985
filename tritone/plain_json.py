"""JSON files, without the packages that check what is in them."""

import json
from pathlib import Path
from typing import Any

from tritone.errors import ModelDirectoryError


def parse_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; raises ModelDirectoryError for anything else."""
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelDirectoryError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ModelDirectoryError(f"{path}: is not valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise ModelDirectoryError(f"{path}: holds {type(content).__name__}, expected an object")
    return content
