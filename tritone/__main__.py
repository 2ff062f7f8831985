"""python -m tritone: the command `tritone`."""

from tritone.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
