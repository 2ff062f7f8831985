"""The process in which one function is called alone: `python child.py MODULE FILE FUNCTION ...`.

It is run by its path, so that its stacks can be asked for before anything of this package is
imported. Further arguments are the function's, as text; what it returns is written as JSON.
"""

import faulthandler
import importlib.util
import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

ANSWER = "answer: "
"""Begins the line with what the function returned."""

REFUSED = 3
"""Exit status where the function raised an error of Tritone's own, whose text is on stderr."""

_MPI = re.compile(r"/\S*/libmpi(?:_abi)?\.so\S*")


def import_module(name: str) -> list[str]:
    """Import a module before anything but the standard library; the MPI libraries loaded then."""
    importlib.import_module(name)
    return mpi_libraries()


def mpi_libraries() -> list[str]:
    """Paths of the MPI libraries in this process."""
    return sorted(set(_MPI.findall(Path("/proc/self/maps").read_text())))


def load(name: str, path: Path) -> ModuleType:
    """A module by its full name and its file.

    The code of the packages around it is not run: they may need what is broken on this machine.
    """
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    with _bare_packages(name, path):
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return module


@contextmanager
def _bare_packages(name: str, path: Path) -> Iterator[None]:
    """Packages around a module, as far as they are not imported yet, without their own code."""
    bare, folder = list[str](), path.absolute().parent
    while (name := name.rpartition(".")[0]) and name not in sys.modules:
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
        bare.append(name)
        folder = folder.parent
    try:
        yield
    finally:
        for name in bare:
            del sys.modules[name]


def main(arguments: list[str]) -> None:
    faulthandler.register(signal.SIGUSR2, file=sys.stderr, all_threads=True)
    if sys.path[0] == os.path.dirname(os.path.abspath(__file__)):
        sys.path[0] = ""  # modules are found as by `python -c`, and none beside this file
    module, file, function, *others = arguments
    try:
        answer = getattr(load(module, Path(file)), function)(*others)
    except Exception as error:
        from tritone.errors import TritoneError

        if not isinstance(error, TritoneError):
            raise
        sys.stderr.write(f"{error}\n")
        sys.exit(REFUSED)
    sys.stdout.write(f"\n{ANSWER}{json.dumps(answer)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
