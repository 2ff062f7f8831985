"""What a subcommand would do with its options, without doing it."""

from collections.abc import Callable, Sequence
from dataclasses import is_dataclass
from functools import wraps
from typing import Any

from tritone.cli.command import run


def options_of(command: Callable[..., int], words: Sequence[str]) -> dict[str, Any]:
    """The values that the subcommand's function would get from this command line."""
    got: dict[str, Any] = {}

    @wraps(command)
    def keep(**options: Any) -> int:
        for name, value in options.items():
            got.update(vars(value) if is_dataclass(value) else {name: value})
        return 0

    assert run(keep, words, "test") == 0
    return got
