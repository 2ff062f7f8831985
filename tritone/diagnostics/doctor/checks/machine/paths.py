"""The names of the folders that a server uses, and whose the cache is."""

import sys
from pathlib import Path

from tritone.diagnostics.doctor.check import Finding, check, passed
from tritone.diagnostics.doctor.target import Target
from tritone.launcher.links import is_plain
from tritone.resources import has_home
from tritone.resources.owners import check_owner


@check("machine.paths")
def paths(target: Target) -> Finding:
    """Triton's Python backend takes no blank and no foreign letter; the launcher makes links."""
    check_owner(target.cache_dir)
    folders = {
        "environment": Path(sys.prefix).resolve(),
        "cache": target.cache_dir,
        "model": target.model_dir,
        "repository": target.model_repository,
        "server": target.wheel_dir,
    }
    odd = [f"{name} {path}" for name, path in folders.items() if not is_plain(path)]
    linked = f"served through links in {target.shm_dir}: {', '.join(odd)}" if odd else "all plain"
    home = "" if has_home() else "; this user has no home (HOME is not set)"
    return passed(f"{linked}; cache {target.cache_dir}{home}")
