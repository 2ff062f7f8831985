"""Nothing that is imported writes, or sends, a report on its use."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from paths import EMBEDDED, PROJECT
from waiting import HANG_S

IMPORTS = [
    "tritone.frontend.audio.encoders",
    "evaluation.dnsmos",
    "training.teachers",
]
OPEN = f"""
import importlib, sys
importlib.import_module(sys.argv[1])
import onnxruntime
onnxruntime.InferenceSession({str(EMBEDDED / "speech_tokenizer.onnx")!r})
"""


@pytest.mark.parametrize("module", IMPORTS)
def test_onnx_runtime_keeps_no_record(module: str, tmp_path: Path) -> None:
    """It would keep one among the user's caches, from where it is sent."""
    homes = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment = {**os.environ, **homes}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    subprocess.run(
        [sys.executable, "-c", OPEN, module],
        cwd=PROJECT,
        env=environment,
        check=True,
        timeout=HANG_S,
    )
    assert [path.name for path in tmp_path.rglob("*") if "icrosoft" in path.name] == []
