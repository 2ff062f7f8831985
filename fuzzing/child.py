"""A process that loads the files it is told of: `python -m fuzzing.child`.

A line of standard input names a loader and a file; a line of standard output tells what came of it.
What a loader takes of memory is bounded: a file of absurd sizes fails here and harms nobody.
"""

import json
import os
import resource
import sys
from pathlib import Path

from fuzzing.campaign import Verdict
from fuzzing.loaders import LOADERS
from tritone.errors import TritoneError

OF_CLIENT = ("client's manifest", "WAV", "FLAC", "OGG")  # their errors are ValueErrors
ROOM = 2 << 30  # bytes of address space that a loader may take
PEAK = 1 << 30  # bytes of memory in use


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def load(name: str, path: Path) -> Verdict:
    """What a file comes to; an error must be ours and name the file."""
    before = _peak()
    try:
        told = LOADERS[name].load(path)
    except (TritoneError, ValueError) as error:
        told = str(error)
        if not isinstance(error, TritoneError) and name not in OF_CLIENT:
            return Verdict("fault", f"{type(error).__name__}: {error}")
        if path.name not in told and str(path.parent) not in told:
            return Verdict("fault", f"{type(error).__name__} names no file: {told}")
    except BaseException as error:  # a panic of foreign code is no Exception
        return Verdict("fault", f"{type(error).__name__}: {error}")
    if (grown := _peak() - before) > PEAK:
        return Verdict("fault", f"took {grown >> 20} MiB")
    return Verdict("refused", str(told)) if told else Verdict("accepted")


def main() -> int:
    import torch  # noqa: F401  what it maps does not count

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what foreign code prints is no answer
    limited = False
    for line in sys.stdin:
        name, path = json.loads(line)
        verdict = load(name, Path(path))
        if not limited:  # the first file is a good one: what the loader needs is there after it
            most = _address_space() + ROOM
            resource.setrlimit(resource.RLIMIT_AS, (most, most))
            limited = True
        print(json.dumps([verdict.kind, verdict.message[:2000]]), file=answers, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
