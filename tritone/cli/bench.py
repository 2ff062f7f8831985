"""tritone bench: a model against what this machine allows, or a running server under load."""

import sys
from collections.abc import Sequence
from importlib import import_module

from tritone.cli.command import refused
from tritone.resources import checkout

# of the load generator, which needs one of them at least
_OF_A_SERVER = ("--url", "--manifest", "--text")


def main(arguments: Sequence[str], prog: str = "tritone bench") -> int:
    """What the options ask for: the client's load generator, or the checkout's benchmarks."""
    if any(word.split("=")[0] in _OF_A_SERVER for word in arguments):
        return int(import_module("tritone_client.bench").main(arguments, prog))
    folder = checkout()
    if folder is None or not (folder / "benchmarks").is_dir():
        return refused(
            "what measures a model on this machine is not part of an installation: clone the "
            "project, run `make setup-tests` in it, and there `.venv/bin/tritone bench`. A running "
            "server is measured with --url, --manifest or --text"
        )
    sys.path.insert(0, str(folder))
    return int(import_module("benchmarks.__main__").main(arguments, prog))
