"""tritone keys: the API keys of a gateway."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tritone.cli import options
from tritone.cli.command import refused
from tritone.errors import EnvironmentProblem

if TYPE_CHECKING:
    from tritone.gateway.keys import KeyRecord

Action = Annotated[Literal["list", "add", "remove"], typer.Argument()]
Name = Annotated[str, typer.Argument(help="of the key, for you to know it by")]


@dataclass(frozen=True)
class Rights:
    """What the callers with a new key may do."""

    requests_per_minute: Annotated[int, typer.Option(metavar="COUNT", help="0: unlimited")] = 120
    streams: Annotated[int, typer.Option(metavar="COUNT", help="at a time; 0: unlimited")] = 8
    voices: Annotated[bool, typer.Option("--voices", help="it may add and remove voices")] = False


def keys(
    rights: Rights, action: Action = "list", name: Name = "", keys: options.Keys = None
) -> int:
    """Add, list and remove the API keys of a gateway, which may be running.

    A key is shown once, when it is added; the file has a salted hash of it.
    """
    from tritone.gateway.keys import read_keys, write_keys

    if keys is None:
        return refused("--keys FILE is needed; it is made with the first key")
    records = read_keys(keys) if keys.exists() or action != "add" else ()
    if action == "list":
        for record in records:
            print(
                f"{record.name:<20} {record.created}  {record.requests_per_minute} requests a "
                f"minute, {record.streams} streams{', voices' if record.voices else ''}"
            )
    elif action == "remove":
        write_keys(keys, _without(name, records))
    else:
        key, record = _added(name, rights, records)
        write_keys(keys, [*records, record])
        print(key)
    return 0


def _without(name: str, records: Sequence["KeyRecord"]) -> list["KeyRecord"]:
    """Raises EnvironmentProblem where there is none of that name."""
    known = [record.name for record in records]
    if name not in known:
        there = ", ".join(known) or "none"
        raise EnvironmentProblem(f"no key is named {name!r}; there are {there}")
    return [record for record in records if record.name != name]


def _added(name: str, rights: Rights, records: Sequence["KeyRecord"]) -> tuple[str, "KeyRecord"]:
    """A key and what is kept of it. Raises EnvironmentProblem."""
    from tritone.gateway.keys import NAME, new_key

    known = [record.name for record in records]
    fewest = min(rights.requests_per_minute, rights.streams)
    if not NAME.fullmatch(name) or name in known or fewest < 0:
        raise EnvironmentProblem(
            f"{name!r}: a name of 1 to 64 of A-Z a-z 0-9 _ . @ - is needed that no key has yet, "
            "and limits of at least 0"
        )
    return new_key(name, rights.requests_per_minute, rights.streams, voices=rights.voices)
