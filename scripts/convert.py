"""`tritone convert` under its file name."""

import sys

from tritone.cli import main

if __name__ == "__main__":
    sys.exit(main(["convert", *sys.argv[1:]]))
