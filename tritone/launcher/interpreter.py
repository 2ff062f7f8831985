"""The Python of this environment under plain paths, for the interpreter in Triton's backend stub.

The stub takes its prefix from the `python3` found on PATH. Where this environment, or what it
imports from, has no plain path, the stub gets a virtual environment of links: the same interpreter
and the same packages.
"""

import json
import subprocess
import sys
import sysconfig
from pathlib import Path

from tritone import resources
from tritone.launcher.binaries import python_version
from tritone.launcher.links import Links, is_plain

_PATHS = "import json, sys; print(json.dumps(sys.path))"


def plain_bin(links: Links) -> Path:
    """The folder to put first on the stub's PATH: that of this interpreter, or one of links."""
    packages = _package_folders()
    used = (Path(sys.prefix), Path(sys.base_prefix), *packages)
    if all(is_plain(path) and is_plain(path.resolve()) for path in used):
        return Path(sys.executable).parent
    home = links.plain(Path(sys.base_prefix), "base") / "bin"
    folder = links.folder / "python"
    site_packages = folder / "lib" / f"python{python_version()}" / "site-packages"
    site_packages.mkdir(parents=True)
    places = [str(links.plain(path, "packages")) for path in packages]
    (site_packages / "links.pth").write_text("".join(f"{place}\n" for place in places), "ascii")
    (folder / "bin").mkdir()
    (folder / "bin" / "python3").symlink_to(Path(sys.executable).resolve())
    settings = f"home = {home}\ninclude-system-site-packages = false\n"
    (folder / "pyvenv.cfg").write_text(settings, "ascii")
    return folder / "bin"


def _package_folders() -> list[Path]:
    """Where an isolated interpreter of this environment imports from, its own library apart."""
    command = [sys.executable, "-I", "-X", "utf8", "-c", _PATHS]
    found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    library = Path(sysconfig.get_path("stdlib")).resolve()
    own = (library, library / "lib-dynload")
    folders = dict.fromkeys([resources.installed(), *map(Path, found)])
    return [path for path in folders if path.is_dir() and path.resolve() not in own]
