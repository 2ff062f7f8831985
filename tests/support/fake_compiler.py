"""A C compiler that takes the options of one."""

from pathlib import Path


def fake_compiler(folder: Path, then: str = "") -> tuple[str, Path]:
    """Its command, and a file that gets a line for each call. then: what the shell does first."""
    script, calls = folder / "fake-cc", folder / "calls"
    script.write_text(
        f"""#!/bin/sh
echo "$*" >> {calls}
{then}
while [ "$1" != -o ]; do shift; done
echo built > "$2"
"""
    )
    script.chmod(0o755)
    return str(script), calls
