"""`tritone download` under its file name."""

import sys

from tritone.cli import main

if __name__ == "__main__":
    sys.exit(main(["download", *sys.argv[1:]]))
