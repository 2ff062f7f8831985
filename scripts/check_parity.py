"""Compare Tritone with golden numbers of the upstream implementation.

    python scripts/check_parity.py tests/golden/token2wav

Prints each case with its largest error and the threshold; exit status 1 if any is missed.
"""

import argparse
import sys
from itertools import chain
from pathlib import Path

from parity.parts import parts_of


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="a folder of golden cases, token2wav or LLM")
    folder = parser.parse_args().folder
    if not folder.is_dir():
        parser.error(f"{folder} is not a directory")
    count = missed = 0
    for result in chain.from_iterable(cases(folder) for cases in parts_of(folder)):
        verdict = "info" if result.informational else "ok" if result.passed else "MISS"
        note = f"  {result.note}" if result.note else ""
        print(f"{verdict:4}  {result.error:9.2e} <= {result.threshold:7.1e}  {result.case}{note}")
        count, missed = count + 1, missed + (not result.passed and not result.informational)
    if not count:
        print(f"error: {folder} holds no golden case that is known here", file=sys.stderr)
        return 2
    print(f"{count} cases, {missed} missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
