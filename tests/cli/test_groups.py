"""Options that are in groups."""

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer

from tritone.cli.command import run


@dataclass(frozen=True)
class Place:
    port: Annotated[int, typer.Option(help="of the place")]
    hosts: Annotated[list[str] | None, typer.Option("--host", help="of the place too")] = None


def keep(got: list[object]):
    def command(
        name: Annotated[str, typer.Argument()],
        place: Place,
        loud: Annotated[bool, typer.Option("--loud")] = False,
    ) -> int:
        """Go somewhere."""
        got.append((name, place, loud))
        return 3

    return command


def test_fields_of_a_group_are_options() -> None:
    got: list[object] = []
    line = ["--host", "a", "ann", "--port", "80", "--host", "b", "--loud"]
    assert run(keep(got), line, "test") == 3
    assert run(keep(got), ["--port", "1", "bob"], "test") == 3
    assert got == [("ann", Place(80, ["a", "b"]), True), ("bob", Place(1), False)]


def test_a_field_without_a_default_is_required(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(keep([]), ["ann"], "test") == 2
    assert "Missing option '--port'" in capsys.readouterr().err


def test_its_help_is_with_that_of_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(keep([]), ["--help"], "test") == 0
    told = capsys.readouterr().out
    places = [told.index(word) for word in ("Go somewhere", "--port", "--host", "--loud")]
    assert places == sorted(places) and "of the place too" in told
