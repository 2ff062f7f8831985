"""How a subcommand is run: a function with typed options, given a command line of its own."""

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

import typer


def run(
    function: Callable[..., int],
    arguments: Sequence[str],
    prog: str,
    *,
    several: Sequence[str] = (),
    usual: Mapping[str, str] | None = None,
) -> int:
    """Call the function with the options of a command line; the exit status.

    function: returns the status; its docstring is the help. It runs when the parser is done, which
    would handle its interrupts and errors otherwise. several: options that take more than one
    value, as in `--only mpi model`. usual: the value of an option that may stand without one.
    """
    parsed: list[dict[str, Any]] = []

    @wraps(function)
    def keep(**options: Any) -> None:
        parsed.append(options)

    app = typer.Typer(add_completion=False)
    app.command()(keep)
    status = parse(app, prog, _repeated(_completed(arguments, usual or {}), several))
    return function(**parsed[0]) if parsed else status


def parse(app: typer.Typer, prog: str, arguments: Sequence[str]) -> int:
    """Have typer read a command line; the exit status where it ends with help or an error."""
    try:
        typer.main.get_command(app).main(args=list(arguments), prog_name=prog)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    return 0


def refused(problem: object) -> int:
    """Say what is wrong with the command line; the exit status for that."""
    print(f"error: {problem}", file=sys.stderr)
    return 2


def _completed(arguments: Sequence[str], usual: Mapping[str, str]) -> list[str]:
    """Each option that may stand alone, with a value."""
    words: list[str] = []
    for word, after in zip(arguments, [*arguments, "-"][1:], strict=True):
        words.append(word)
        if word in usual and after.startswith("-"):
            words.append(usual[word])
    return words


def _repeated(arguments: Sequence[str], several: Sequence[str]) -> list[str]:
    """`--only a b` as `--only a --only b`, which is what the parser understands."""
    words: list[str] = []
    option = ""
    for word in arguments:
        if word.startswith("-"):
            option = word if word in several else ""
        if word in several:
            continue
        words += [option, word] if option else [word]
    return words
