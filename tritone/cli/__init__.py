"""The command `tritone`: a subcommand is a module of this package, imported when it is called.

So `tritone --help` is quick, and `tritone doctor` runs where numpy or torch cannot be imported.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand

from tritone.cli.command import parse

_COMMANDS = {
    "serve": "Serve the models with Triton Inference Server until interrupted.",
    "say": "Speak a text through a running server.",
    "convert": "Make a model directory of a released checkpoint.",
    "download": "Fetch a released checkpoint, verified.",
    "engines": "Build a model directory's engines for this machine's GPU.",
    "doctor": "Examine this machine, the model and a running server; say how to fix them.",
    "load": "Load a model directory step by step without a server, then speak a word.",
    "top": "Watch a running server: its models, its speed, and where the time goes.",
    "bench": "Measure a running server under load.",
    "offline": "Speak every line of a manifest into files, without a server.",
    "evaluate": "Judge speech: words, voice, sound, seams, length and speed.",
    "normalize": "Show the spoken form of written lines.",
    "voices": "List the registered voices of a model directory.",
    "demo": "",
}
_HIDDEN = ("demo",)


class _Forwarded(TyperCommand):
    """A subcommand that leaves its whole command line, --help too, to its module."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.args = list(args)
        return []


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand, by default that of this process; the exit status."""
    chosen: list[tuple[str, list[str]]] = []
    app = typer.Typer(
        help="Streaming text-to-speech on Triton Inference Server.",
        epilog="tritone COMMAND --help says more.",
        add_completion=False,
        no_args_is_help=True,
    )
    for name, summary in _COMMANDS.items():

        @app.command(name, cls=_Forwarded, help=summary, hidden=name in _HIDDEN)
        def keep(context: typer.Context) -> None:
            chosen.append((str(context.info_name), context.args))

    status = parse(app, "tritone", sys.argv[1:] if arguments is None else arguments)
    if not chosen:
        return status
    name, rest = chosen[0]
    ended: int = import_module(f"tritone.cli.{name}").main(rest, f"tritone {name}")
    return ended
