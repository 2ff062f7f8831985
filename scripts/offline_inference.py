"""`tritone offline` under its file name."""

import sys

from tritone.cli import main

if __name__ == "__main__":
    sys.exit(main(["offline", *sys.argv[1:]]))
