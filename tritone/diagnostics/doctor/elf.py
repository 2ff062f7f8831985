"""What a shared library asks of the loader: the names of others, and where it looks for them.

Read without loading it, since loading may run code. Format: System V ABI, "Program Loading and
Dynamic Linking". Only 64-bit little-endian files: x86-64 and AArch64.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_CLASS_64_LITTLE = b"\x7fELF\x02\x01"
_HEADER = struct.Struct("<32xQ14xHH")  # program headers: offset in the file, size of one, how many
_PROGRAM = struct.Struct("<I4xQQ8xQ")  # type, offset in the file, address, size in the file
_ENTRY = struct.Struct("<qQ")  # tag, value
_LOAD, _DYNAMIC = 1, 2  # types of segments
_NEEDED, _STRINGS, _SONAME, _RPATH, _RUNPATH = 1, 5, 14, 15, 29  # tags of the dynamic section
_NAME_BYTES = 4096


@dataclass(frozen=True)
class Library:
    """A shared library. needed: names of others. folders: where it has them looked for first."""

    path: Path
    soname: str
    needed: tuple[str, ...]
    folders: tuple[Path, ...]


def read_library(path: Path) -> Library:
    """The dynamic section of a shared library; raises ValueError for a file that is none."""
    with path.open("rb") as file:
        try:
            segments = _segments(file)
            entries = _dynamic_entries(file, segments)
            strings = next(value for tag, value in entries if tag == _STRINGS)
            start = _offset(segments, strings)
        except (struct.error, StopIteration) as error:
            raise ValueError(f"{path} is no shared library, or cut short") from error
        named: dict[int, list[str]] = {}
        for tag, value in entries:
            if tag in (_NEEDED, _SONAME, _RPATH, _RUNPATH):
                named.setdefault(tag, []).append(_string(file, start + value))
    search = (named.get(_RUNPATH) or named.get(_RPATH) or [""])[0]
    origin = str(path.resolve().parent)
    folders = [part.replace("${ORIGIN}", "$ORIGIN") for part in search.split(":") if part]
    return Library(
        path=path,
        soname=named.get(_SONAME, [path.name])[0],
        needed=tuple(named.get(_NEEDED, ())),
        folders=tuple(Path(part.replace("$ORIGIN", origin)) for part in folders),
    )


def _segments(file: BinaryIO) -> list[tuple[int, int, int, int]]:
    """(type, offset, address, size) of each program header."""
    if file.read(len(_CLASS_64_LITTLE)) != _CLASS_64_LITTLE:
        raise ValueError(f"{file.name} is no 64-bit little-endian ELF file")
    file.seek(0)
    begin, size, count = _HEADER.unpack(file.read(_HEADER.size))
    segments = []
    for index in range(count):
        file.seek(begin + index * size)
        segments.append(_PROGRAM.unpack(file.read(_PROGRAM.size)))
    return segments


def _dynamic_entries(
    file: BinaryIO, segments: list[tuple[int, int, int, int]]
) -> list[tuple[int, int]]:
    offset, size = next((offset, size) for kind, offset, _, size in segments if kind == _DYNAMIC)
    file.seek(offset)
    return list(_ENTRY.iter_unpack(file.read(size)))


def _offset(segments: list[tuple[int, int, int, int]], address: int) -> int:
    """Where in the file lies what is loaded at an address."""
    return next(
        offset + address - start
        for kind, offset, start, size in segments
        if kind == _LOAD and start <= address < start + size
    )


def _string(file: BinaryIO, offset: int) -> str:
    file.seek(offset)
    return file.read(_NAME_BYTES).split(b"\0", 1)[0].decode(errors="replace")
