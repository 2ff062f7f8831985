"""`tritone engines` under its file name."""

from tritone.cli import script

if __name__ == "__main__":
    script("engines")
