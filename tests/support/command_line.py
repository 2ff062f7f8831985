"""What a subcommand would do with its options, without doing it."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from tritone.cli.command import run


def options_of(command: Callable[..., int], words: Sequence[str]) -> dict[str, Any]:
    """The values that the subcommand's function would get from this command line."""
    got: list[dict[str, Any]] = []

    @wraps(command)
    def keep(**options: Any) -> int:
        got.append(options)
        return 0

    assert run(keep, words, "test") == 0
    return got[0]
