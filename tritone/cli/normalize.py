"""tritone normalize: the spoken form of what is written."""

import sys
from typing import Annotated, Literal

import typer

from tritone.frontend.text.normalize import TextNormalizer


def normalize(
    text: Annotated[
        list[str] | None, typer.Argument(help="lines; without them standard input")
    ] = None,
    language: Annotated[
        Literal["auto", "en", "zh"], typer.Option(help="whose rules; auto finds it from each line")
    ] = "auto",
) -> int:
    """Show the spoken form of each line: numbers, dates, units and symbols as words."""
    spoken = TextNormalizer()
    for line in text or sys.stdin:
        print(spoken(line, None if language == "auto" else language), flush=True)
    return 0
