"""Plain names for folders whose own names Triton's Python backend cannot take.

The backend puts the paths of its stub and of a model into a command line, where a blank ends them.
The interpreter inside the stub is set to ASCII whatever the locale says, so that a path with other
letters reaches no native library, and no log.
"""

import re
from pathlib import Path

_PLAIN = re.compile(r"[A-Za-z0-9_./+@%=,-]+")


def is_plain(path: Path | str) -> bool:
    """Whether the backend can take this path as it is."""
    return _PLAIN.fullmatch(str(path)) is not None


class Links:
    """Links in a folder with a plain name, which is made for the first of them.

    made: link -> what it leads to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made: dict[Path, Path] = {}

    def plain(self, path: Path, name: str) -> Path:
        """The path itself, absolute, if the backend can take it; else a link to it of that name."""
        path = path.absolute()
        if is_plain(path):
            return path
        link = self.folder / name
        if self.made.setdefault(link, path) != path:
            return self.plain(path, f"{name}_")
        if not link.is_symlink():
            self.folder.mkdir(mode=0o700, exist_ok=True)
            link.symlink_to(path)
        return link

    def holding(self, path: Path, name: str) -> Path:
        """A folder with nothing in it but a link of this name to the path."""
        folder = self.folder / "named"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / name).symlink_to(path.absolute())
        return folder

    def explained(self, text: str) -> str:
        """A text of the server with the links in it replaced by what they lead to."""
        for link in sorted(self.made, reverse=True):  # longer names before their beginnings
            text = text.replace(str(link), str(self.made[link]))
        return text
