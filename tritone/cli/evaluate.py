"""tritone evaluate: the judges of speech, which a checkout of the project has."""

import runpy
import sys
from collections.abc import Sequence

from tritone.cli.command import refused
from tritone.resources import checkout


def main(arguments: Sequence[str], prog: str = "tritone evaluate") -> int:
    """Become `python -m evaluation` of the checkout, and end with its status."""
    folder = checkout()
    if folder is None or not (folder / "evaluation").is_dir():
        return refused(
            "the judges of speech are not part of an installation: clone the project, run "
            "`make setup-tests` in it, and there `.venv/bin/python -m evaluation`"
        )
    sys.path.insert(0, str(folder))
    sys.argv = [prog, *arguments]
    runpy.run_module("evaluation", run_name="__main__", alter_sys=True)
    return 0
