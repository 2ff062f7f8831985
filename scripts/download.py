"""`tritone download` under its file name."""

import sys

from tritone.cli.download import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
