"""The server while /dev/shm and the disk of its cache, its log among it, are full."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from paths import PROJECT, SUPPORT
from waiting import HANG_S

pytestmark = pytest.mark.server


def test_what_needs_no_room_is_spoken_and_the_rest_is_an_error(tmp_path: Path) -> None:
    small = "mount -t tmpfs -o size=48m tmpfs /dev/shm"
    mount = f"{small} && mount -t tmpfs -o size=2m tmpfs {tmp_path}"
    unshare = ["unshare", "--mount", "sh", "-c"]
    if subprocess.run([*unshare, mount], capture_output=True).returncode:
        pytest.skip("file systems may not be mounted here")
    script = [sys.executable, str(SUPPORT / "full_places.py"), str(tmp_path)]
    paths = os.pathsep.join(map(str, (SUPPORT, PROJECT, PROJECT / "client")))
    done = subprocess.run(
        [*unshare, f'{mount} && exec "$@"', "sh", *script],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=2 * HANG_S,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["before"] == found["small"] == found["small again"] > 0
    assert "No space left on device" in found["large"] and "shared memory" in found["large"]
    assert isinstance(found["large after"], int) and found["same processes"]
