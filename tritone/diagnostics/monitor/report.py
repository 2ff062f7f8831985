"""A snapshot for programs: a line of JSON, or of key=value for grep."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from typing import Any

from tritone.diagnostics.monitor.observer import Snapshot

_DECIMALS = 4
_UNNAMED = ("now", "counted", "measured")  # groups whose keys say enough in a line


def as_json(snapshot: Snapshot) -> str:
    """One object on one line; null for what is not known."""
    return json.dumps(_plain(asdict(snapshot)))


def as_line(snapshot: Snapshot) -> str:
    """The same as words key=value, a key's levels joined by dots; "-" for what is not known.

    A value with anything but plain characters is a JSON string. Of the errors only the last is
    there, of the problems the first.
    """
    record = _plain(asdict(snapshot))
    record |= record.pop("figures") or {}
    for group in _UNNAMED:
        record |= record.pop(group, {})
    problems, errors = record.pop("problems"), record.pop("errors")
    record["problem"] = problems[0] if problems else None
    record["last_error"] = errors[-1] if errors else None
    return " ".join(f"{key}={_word(value)}" for key, value in _flat("", record))


def _flat(prefix: str, record: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in record.items():
        if isinstance(value, dict):
            yield from _flat(f"{prefix}{name}.", value)
        else:
            yield f"{prefix}{name}", value


def _word(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return str(int(value))
    text = str(value)
    plain = all(c.isprintable() and not c.isspace() and c not in "\"'=" for c in text)
    return text if plain else json.dumps(text)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds")
    if isinstance(value, float):
        return int(value) if value.is_integer() else round(value, _DECIMALS)
    return value
