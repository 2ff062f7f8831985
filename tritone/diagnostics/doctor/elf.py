"""What a shared library asks of the loader: the names of others, and where it looks for them.

Read without loading it, since loading may run code. Format: System V ABI, "Program Loading and
Dynamic Linking". Only 64-bit little-endian files: x86-64 and AArch64.
"""

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path

_CLASS_64_LITTLE = b"\x7fELF\x02\x01"
_HEADER = struct.Struct("<32xQ14xHH")  # program headers: offset in the file, size of one, how many
_PROGRAM = struct.Struct("<I4xQQ8xQ")  # type, offset in the file, address, size in the file
_ENTRY = struct.Struct("<qQ")  # tag, value
_LOAD, _DYNAMIC = 1, 2  # types of segments
_NEEDED, _STRINGS, _RPATH, _RUNPATH = 1, 5, 15, 29  # tags of the dynamic section


@dataclass(frozen=True)
class Library:
    """A shared library. needed: names of others. folders: where it has them looked for first."""

    path: Path
    needed: tuple[str, ...]
    folders: tuple[Path, ...]


def read_library(path: Path) -> Library:
    """The dynamic section of a shared library; raises ValueError for a file that is none."""
    with path.open("rb") as file:
        if file.read(len(_CLASS_64_LITTLE)) != _CLASS_64_LITTLE:
            raise ValueError(f"{path} is no 64-bit little-endian ELF file")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                named = _named(data)
            except (struct.error, StopIteration) as error:
                raise ValueError(f"{path} is no shared library, or cut short") from error
    search = (named.get(_RUNPATH) or named.get(_RPATH) or [""])[0]
    origin = str(path.resolve().parent)
    folders = [part.replace("${ORIGIN}", "$ORIGIN") for part in search.split(":") if part]
    return Library(
        path=path,
        needed=tuple(named.get(_NEEDED, ())),
        folders=tuple(Path(part.replace("$ORIGIN", origin)) for part in folders),
    )


def _named(data: mmap.mmap) -> dict[int, list[str]]:
    """Tag -> its texts, of those entries of the dynamic section that name something."""
    begin, size, count = _HEADER.unpack_from(data)
    segments = [_PROGRAM.unpack_from(data, begin + index * size) for index in range(count)]
    start, length = next((at, size) for kind, at, _, size in segments if kind == _DYNAMIC)
    entries = list(_ENTRY.iter_unpack(data[start : start + length]))
    address = next(value for tag, value in entries if tag == _STRINGS)
    strings = next(  # where in the file lies what is loaded at that address
        at + address - base
        for kind, at, base, size in segments
        if kind == _LOAD and base <= address < base + size
    )
    named: dict[int, list[str]] = {}
    for tag, value in entries:
        if tag in (_NEEDED, _RPATH, _RUNPATH):
            text = data[strings + value : data.find(b"\0", strings + value)]
            named.setdefault(tag, []).append(text.decode(errors="replace"))
    return named
