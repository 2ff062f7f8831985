"""tritone demo: what it refuses before a server is started."""

from pathlib import Path

import pytest

from tritone.cli import main


def test_a_sound_file_that_cannot_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    out = Path("/proc/tritone/demo.wav")
    assert main(["demo", "--out", str(out), "Hello."]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {out} cannot be written (")
    assert line.endswith("make demo OUT=FOLDER")
