"""`tritone engines` under its file name."""

import sys

from tritone.cli import main

if __name__ == "__main__":
    sys.exit(main(["engines", *sys.argv[1:]]))
