"""What this machine's processor has, as far as the system lets programs use it."""

import re
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


def instructions(cpuinfo: str | None = None) -> frozenset[str]:
    """Its flags, by the names of Linux. cpuinfo: of another processor, as Linux describes it."""
    if cpuinfo is None:
        try:
            cpuinfo = _CPUINFO.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return frozenset()
    flags = re.search(r"^flags\s*: (.+)$", cpuinfo, re.MULTILINE)
    return frozenset(flags[1].split() if flags else ())
