"""Checks of the doctor for its own tests; each is run in a process that imports this module."""

import os
import subprocess
import threading
import time
from pathlib import Path

from tritone.diagnostics.doctor.check import Check, Finding, failure, passed, skipped
from tritone.diagnostics.doctor.target import Target

HANG_S = 1000


def good(target: Target) -> Finding:
    return passed(f"{target.model_dir.name} and {target.http_port}")


def absent(target: Target) -> Finding:
    return skipped("there is nothing of the kind")


def broken(target: Target) -> Finding:
    raise RuntimeError("not what was meant")


def hangs(target: Target) -> Finding:
    sleep_for_ever()
    return passed("never")


def hangs_with_company(target: Target) -> Finding:
    """Leaves a process behind that has left the session, and a thread that sleeps too."""
    daemon = subprocess.Popen(["sleep", str(HANG_S)], start_new_session=True)
    (target.cache_dir / "daemon").write_text(str(daemon.pid))
    threading.Thread(target=time.sleep, args=(HANG_S,), daemon=True).start()
    sleep_for_ever()
    return passed("never")


def crashes(target: Target) -> Finding:
    os.abort()


def lacks_a_file(target: Target) -> Finding:
    if Path(target.cache_dir, "mended").exists():
        return passed("it is there")
    return failure("it is not there", "touch mended", repairable=True)


def mend(target: Target) -> str:
    Path(target.cache_dir, "mended").touch()
    return "made it"


def sleep_for_ever() -> None:
    Path(os.environ["HANG_MARKS"], str(os.getpid())).touch()  # see out_of_time.py
    time.sleep(HANG_S)


GOOD = Check("toy.good", good)
ABSENT = Check("toy.absent", absent)
BROKEN = Check("toy.broken", broken)
HANGS = Check("toy.hangs", hangs, limit_s=0.5, when_late="look at {name} again")
COMPANY = Check("toy.company", hangs_with_company, limit_s=0.5)
CRASHES = Check("toy.crashes", crashes)
LACKS = Check("toy.lacks", lacks_a_file, repair=mend)
