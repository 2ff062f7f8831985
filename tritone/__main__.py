"""python -m tritone: the command `tritone`."""

import sys

from tritone.cli import main

if __name__ == "__main__":
    sys.exit(main())
