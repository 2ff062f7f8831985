"""tritone normalize: the spoken form of what is written."""

import sys
from itertools import count
from pathlib import Path
from typing import Annotated, Literal

import typer

from tritone.frontend.text.normalize import TextNormalizer
from tritone.frontend.text.settings import TextSettings, text_settings
from tritone.frontend.text.stage import TextStage
from tritone.frontend.text.traced import Change


def normalize(
    text: Annotated[
        list[str] | None, typer.Argument(help="texts; without them every line of standard input")
    ] = None,
    language: Annotated[
        Literal["auto", "en", "zh"], typer.Option(help="whose rules; auto finds it from each line")
    ] = "auto",
    explain: Annotated[
        bool, typer.Option("--explain", help="also the segments, pauses, and which rule read what")
    ] = False,
    lexicon: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="a lexicon.tsv with readings of your own"),
    ] = None,
) -> int:
    """Show the spoken form of each text: numbers, dates, units, markup and symbols as words.

    Notes on what is skipped go to standard error.
    """
    settings = text_settings()
    stage = TextStage(None, (), len, TextSettings(settings.pauses, lexicon or settings.lexicon))
    for line in text or sys.stdin:
        _show(stage.normalize, line, None if language == "auto" else language)
        if explain:
            _explain(stage, line)
    return 0


def _show(normalizer: TextNormalizer, text: str, language: Literal["en", "zh"] | None) -> None:
    explained = normalizer.explain(text, language)
    print(explained.text, flush=True)
    for note in explained.notes:
        print(f"note: {note}", file=sys.stderr)


def _explain(stage: TextStage, text: str) -> None:
    """What a voice would be given, with the places in the text."""
    for index in count():
        changes: list[Change] = []
        block = stage.block(text, index, changes.append)
        for piece in block.pieces:
            speed = f", speed {piece.speed:g}" if piece.speed != 1 else ""
            print(f"  {piece.start:>5}  [{piece.pause:g} s{speed}] {piece.text.strip()}")
        for change in changes:
            print(f"  {change.start:>5}    {change.rule}: {change.before!r} -> {change.after!r}")
        if not block.more:
            return
