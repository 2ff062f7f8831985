"""tritone keys: the API keys of a gateway."""

from typing import Annotated, Literal

import typer

from tritone.cli import options
from tritone.cli.command import refused
from tritone.errors import EnvironmentProblem

Action = Annotated[Literal["list", "add", "remove"], typer.Argument()]
Name = Annotated[str, typer.Argument(help="of the key, for you to know it by")]
Minute = Annotated[int, typer.Option(metavar="COUNT", help="0: unlimited")]
Voices = Annotated[bool, typer.Option("--voices", help="it may add and remove voices")]
Streams = Annotated[int, typer.Option(metavar="COUNT", help="at a time; 0: unlimited")]


def keys(
    action: Action = "list",
    name: Name = "",
    keys: options.Keys = None,
    requests_per_minute: Minute = 120,
    streams: Streams = 8,
    voices: Voices = False,
) -> int:
    """Add, list and remove the API keys of a gateway, which may be running.

    A key is shown once, when it is added; the file has a salted hash of it.
    """
    from tritone.gateway.keys import NAME, new_key, read_keys, write_keys

    if keys is None:
        return refused("--keys FILE is needed; it is made with the first key")
    records = read_keys(keys) if keys.exists() or action != "add" else ()
    if action == "list":
        for record in records:
            print(
                f"{record.name:<20} {record.created}  {record.requests_per_minute} requests a "
                f"minute, {record.streams} streams{', voices' if record.voices else ''}"
            )
        return 0
    known = [record.name for record in records]
    if action == "remove":
        if name not in known:
            there = ", ".join(known) or "none"
            raise EnvironmentProblem(f"no key is named {name!r}; there are {there}")
        write_keys(keys, [record for record in records if record.name != name])
        return 0
    if not NAME.fullmatch(name) or name in known or min(requests_per_minute, streams) < 0:
        raise EnvironmentProblem(
            f"{name!r}: a name of 1 to 64 of A-Z a-z 0-9 _ . @ - is needed that no key has yet, "
            "and limits of at least 0"
        )
    key, record = new_key(name, requests_per_minute, streams, voices=voices)
    write_keys(keys, [*records, record])
    print(key)
    return 0
