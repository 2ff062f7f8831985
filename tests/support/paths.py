"""Where the project, its tests and their data are."""

from pathlib import Path

SUPPORT = Path(__file__).resolve().parent
TESTS = SUPPORT.parent
PROJECT = TESTS.parent
GOLDEN = TESTS / "golden"
EMBEDDED = PROJECT / "checkpoints" / "embedded"
COSYVOICE3 = PROJECT / "checkpoints" / "embedded_cosyvoice3"
