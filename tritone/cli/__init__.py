"""The command `tritone`: a subcommand is a module of this package, imported when it is called.

So `tritone --help` is quick, and `tritone doctor` runs where numpy or torch cannot be imported.
A module has a function of its own name for `run`, or, as the client's commands, a parser in `main`.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

import typer

from tritone.cli.command import parse, run

_COMMANDS = {
    "serve": "Serve the models with Triton Inference Server until interrupted.",
    "gateway": "Serve OpenAI's speech API over running servers until interrupted.",
    "keys": "Add, list and remove the API keys of a gateway.",
    "say": "Speak a text through a running server.",
    "convert": "Make a model directory of a released checkpoint.",
    "download": "Fetch a released checkpoint, verified.",
    "engines": "Build a model directory's engines for this machine's GPU.",
    "kernels": "Compile what computes attention on this machine's CPU.",
    "doctor": "Examine this machine, the model and a running server; say how to fix them.",
    "load": "Load a model directory step by step without a server, then speak a word.",
    "top": "Watch a running server: its models, its speed, and where the time goes.",
    "bench": "Measure a model on this machine, or a running server under load.",
    "plan": "Tell how many machines a load needs, from what one was measured to do.",
    "offline": "Speak every line of a manifest into files, without a server.",
    "evaluate": "Judge speech: words, voice, sound, seams, length and speed.",
    "normalize": "Show the spoken form of written lines.",
    "voices": "List, add, remove, import, export and hear voices.",
    "golden": "Keep how a model directory speaks, for servers to compare themselves with.",
    "demo": "",  # not in the help
}
_CLIENTS = {"say": "tritone_client.say"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand, by default that of this process; the exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    if not words or words[0] not in _COMMANDS:
        return parse(_overview(), "tritone", words)
    name, *rest = words
    module = import_module(_CLIENTS.get(name, f"tritone.cli.{name}"))
    if hasattr(module, "main"):
        return int(module.main(rest, f"tritone {name}"))
    return run(getattr(module, name), rest, f"tritone {name}")


def script(name: str) -> NoReturn:
    """A subcommand with the arguments of this process, which ends."""
    sys.exit(main([name, *sys.argv[1:]]))


def _overview() -> typer.Typer:
    """What knows the commands for help and for advice on a mistyped one, and runs none."""
    app = typer.Typer(
        help="Streaming text-to-speech on Triton Inference Server.",
        epilog="tritone COMMAND --help says more.",
        add_completion=False,
        no_args_is_help=True,
    )
    for name, summary in _COMMANDS.items():
        app.command(name, help=summary, hidden=not summary)(lambda: None)
    return app
