"""tritone normalize: the spoken form of what is written."""

import sys
from collections.abc import Sequence
from typing import Annotated, Literal

import typer

from tritone.cli.command import run
from tritone.frontend.text.normalize import TextNormalizer

Text = Annotated[list[str] | None, typer.Argument(help="lines; without them standard input")]
Language = Annotated[
    Literal["auto", "en", "zh"], typer.Option(help="whose rules; auto finds it from each line")
]


def normalize(text: Text = None, language: Language = "auto") -> int:
    """Show the spoken form of each line: numbers, dates, units and symbols as words."""
    spoken = TextNormalizer()
    for line in text or sys.stdin:
        print(spoken(line, None if language == "auto" else language), flush=True)
    return 0


def main(arguments: Sequence[str], prog: str = "tritone normalize") -> int:
    return run(normalize, arguments, prog)
