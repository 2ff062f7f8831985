"""The utterances that a benchmark speaks: the lines of a manifest, all checked before any work.

    id|prompt_text|prompt_wav|text
    {"id": "b", "text": "Hello.", "voice": "anna", "seed": 3}

A line is of the one or the other kind; blank lines are skipped. prompt_text and prompt_wav may be
empty: then the server's own voice speaks. Paths, of emotion_audio too, count from the manifest's
own folder.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tritone_client.emotion import AUDIO, Recording, emotion_of
from tritone_client.recording import read_recording
from tritone_client.request import Utterance, infer_request

PIPED = ("id", "prompt_text", "prompt_wav", "text")
_KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("id", "text", "prompt_text", "prompt_wav", "voice", "instruct_text"), (str,)),
    **dict.fromkeys(("seed", "top_k"), (int,)),
    **dict.fromkeys(("temperature", "top_p", "speed"), (int, float)),
    "emotion_vector": (list,),
    **dict.fromkeys((AUDIO, "emotion_text"), (str,)),
    "emotion_weight": (int, float),
}
# Keys that have the same name in an Utterance
_SAME = ("text", "voice", "instruct_text", "seed", "temperature", "top_p", "top_k", "speed")


class ManifestError(ValueError):
    """A manifest cannot be used; the message has a line for each of its lines at fault."""


@dataclass(frozen=True)
class Entry:
    """One utterance under the id that the manifest gives it."""

    id: str
    utterance: Utterance


def read_manifest(path: Path) -> list[Entry]:
    """Read all of it, recordings included. Raises ManifestError naming every line at fault."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path} cannot be read: {error}") from error
    entries: dict[str, Entry] = {}
    problems = []
    read = cache(_read)  # many lines share a recording
    for number, line in enumerate(map(str.strip, text.split("\n")), start=1):
        if not line:
            continue
        try:
            entry = _entry(_keys(line), path.parent, read)
            if entry.id in entries:
                raise ValueError(f"id {entry.id!r} is there already")
            entries[entry.id] = entry
        except ValueError as error:
            problems.append(f"{path}, line {number}: {error}")
    if not entries and not problems:
        problems.append(f"{path} has no lines; write {'|'.join(PIPED)} or JSON objects")
    if problems:
        raise ManifestError("\n".join(problems))
    return list(entries.values())


def _keys(line: str) -> dict[str, Any]:
    """What a line says, by key. Raises ValueError."""
    if not line.startswith("{"):
        parts = [part.strip() for part in line.split("|")]
        if len(parts) != len(PIPED):
            raise ValueError(f"{len(parts)} fields; {'|'.join(PIPED)} has {len(PIPED)}")
        return dict(zip(PIPED, parts, strict=True))
    try:
        found: dict[str, Any] = json.loads(line)
    except RecursionError as error:
        raise ValueError("is nested too deeply") from error
    for key, value in found.items():
        if key not in _KINDS:
            raise ValueError(f"{key!r} is not known; the keys are {', '.join(_KINDS)}")
        if isinstance(value, bool) or not isinstance(value, _KINDS[key]):
            raise ValueError(f"{key}: {value!r} is not {_KINDS[key][-1].__name__}")
        for each in value if isinstance(value, list) else ():
            if isinstance(each, bool) or not isinstance(each, (int, float)):
                raise ValueError(f"{key}: has {each!r}, which is not float")
    return found


def _entry(keys: dict[str, Any], folder: Path, read: Callable[[Path, str], Recording]) -> Entry:
    for key in ("id", "text"):
        if not keys.get(key, "").strip():
            raise ValueError(f"{key} is missing or empty")
    given = {key: keys[key] for key in _SAME if key in keys}
    if keys.get("prompt_wav"):
        given["reference_wav"], given["reference_rate"] = read(
            folder / keys["prompt_wav"], "prompt_wav"
        )
        given["reference_text"] = keys.get("prompt_text") or None
    elif keys.get("prompt_text"):
        raise ValueError("prompt_text needs prompt_wav, the recording that it transcribes")
    emotion = emotion_of(keys, lambda name: read(folder / name, AUDIO))
    utterance = Utterance(**given, emotion=emotion)
    infer_request(utterance, "any")  # what does not fit the wire is found now
    return Entry(keys["id"], utterance)


def _read(path: Path, key: str) -> Recording:
    """key: that names it. Raises ValueError."""
    try:
        if not path.is_file():
            raise ValueError(f"{path} does not exist")
        return read_recording(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"{key}: {error}") from error
