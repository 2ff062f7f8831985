"""Limits of the control groups that this process is in, of either version (cgroups(7)).

A group is held to its own limits and to those of the groups around it, as far as they are mounted:
a container sees its own alone.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

Number = TypeVar("Number", int, float)

_MEMORY = (  # files of the limit and of what is used, and the cache's line in memory.stat
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
_NO_LIMIT = 1 << 60  # version 1 writes a number near 2^63 for "no limit"


class ControlGroups:
    """root: of the file system, with proc and what proc says is mounted."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._paths = dict(self._own_paths())
        self._mounts = dict(self._mounted())

    def memory_room(self) -> int | None:
        """Bytes that can still be taken; None without a limit. The page cache gives way."""
        return _lowest(self._folders("memory"), _memory_room)

    def processors(self) -> float | None:
        """Cores' worth of time; None without a quota."""
        return _lowest(self._folders("cpu"), _quota)

    def task_room(self) -> int | None:
        """Processes and threads that can still be started; None without a limit."""
        read = partial(_room, limit_name="pids.max", used_name="pids.current")
        return _lowest(self._folders("pids"), read)

    def _own_paths(self) -> Iterator[tuple[str, str]]:
        """Controller -> path of the group within its hierarchy; version 2 has the name ""."""
        for line in _lines(self._root / "proc/self/cgroup"):
            _, controllers, path = line.split(":", 2)
            for controller in controllers.split(","):
                yield controller, path

    def _mounted(self) -> Iterator[tuple[str, tuple[str, Path]]]:
        """Controller -> the path within the hierarchy that is mounted, and where (proc(5))."""
        for line in _lines(self._root / "proc/self/mountinfo"):
            before, _, after = line.partition(" - ")
            kind, _, options = after.split(" ", 2)
            path, place = before.split()[3:5]
            for name in {"cgroup": options.split(","), "cgroup2": [""]}.get(kind, []):
                yield name, (path, self._root / place.lstrip("/"))

    def _folders(self, controller: str) -> list[Path]:
        """The group's own folder first, then those around it."""
        both = self._paths.keys() & self._mounts.keys()
        name = controller if controller in both else ""
        if name not in both:
            return []
        top, mount = self._mounts[name]
        folder = mount / self._paths[name].removeprefix(top.rstrip("/")).lstrip("/")
        around = [parent for parent in folder.parents if parent.is_relative_to(mount)]
        return [place for place in (folder, *around) if place.is_dir()]


def _lowest(folders: list[Path], read: Callable[[Path], Number | None]) -> Number | None:
    values = [value for value in map(read, folders) if value is not None]
    return min(values, default=None)


def _memory_room(folder: Path) -> int | None:
    for limit, used, cache in _MEMORY:
        if (room := _room(folder, limit, used)) is not None:
            stat = dict(line.split(" ", 1) for line in _lines(folder / "memory.stat"))
            return max(0, room + int(stat.get(cache, 0)))
    return None


def _quota(folder: Path) -> float | None:
    words = " ".join(_lines(folder / "cpu.max")).split()
    if len(words) == 2 and words[0].isdigit():
        return int(words[0]) / int(words[1])
    quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
    return quota / period if quota is not None and period else None


def _room(folder: Path, limit_name: str, used_name: str) -> int | None:
    limit, used = _number(folder / limit_name), _number(folder / used_name)
    return limit - used if limit is not None and used is not None else None


def _number(path: Path) -> int | None:
    """The number in a file; None for "max", -1, what stands for no limit, and no file."""
    text = "".join(_lines(path))
    return int(text) if text.isdigit() and int(text) < _NO_LIMIT else None


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.is_file() else []
