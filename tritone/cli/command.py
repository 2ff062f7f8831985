"""How a subcommand is run: a function with typed options, given a command line of its own."""

import sys
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import typer

from tritone.cli.groups import flat
from tritone.errors import TritoneError

# options that take more than one value, as in `--only mpi model`
_SEVERAL = ("--only", "--skip", "--llm-precision")
# options that may stand without a value, and which they have then
_USUAL = {"--half": "bf16", "--llm-precision": "none"}


def run(function: Callable[..., int], arguments: Sequence[str], prog: str) -> int:
    """Call the function with the options of a command line; the exit status.

    function: returns the status; its docstring is the help, and its options may be in groups. It
    runs when the parser is done, which would handle its interrupts and errors otherwise; a
    TritoneError of it is a refusal.
    """
    function = flat(function)
    parsed: list[dict[str, Any]] = []

    @wraps(function)
    def keep(**options: Any) -> None:
        parsed.append(options)

    app = typer.Typer(add_completion=False)
    app.command()(keep)
    status = parse(app, prog, _spelt_out(arguments))
    try:
        return function(**parsed[0]) if parsed else status
    except TritoneError as error:
        return refused(error)


def parse(app: typer.Typer, prog: str, arguments: Sequence[str]) -> int:
    """Have typer read a command line; the exit status where it ends with help or an error."""
    try:
        typer.main.get_command(app).main(args=list(arguments), prog_name=prog)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    return 0


def refused(problem: object, status: int = 2) -> int:
    """Say what is wrong; the exit status for that, by default of a wrong command line."""
    print(f"error: {problem}", file=sys.stderr)
    return status


def _spelt_out(arguments: Sequence[str]) -> list[str]:
    """`--half --only a b` as `--half bf16 --only a --only b`, which the parser understands."""
    words: list[str] = []
    option = ""
    for word, after in zip(arguments, [*arguments, "-"][1:], strict=True):
        if word.startswith("-"):
            option = word if word in _SEVERAL else ""
        if word not in _SEVERAL:
            words += [option, word] if option else [word]
        if word in _USUAL and after.startswith("-"):
            words += [word, _USUAL[word]] if option else [_USUAL[word]]
    return words
