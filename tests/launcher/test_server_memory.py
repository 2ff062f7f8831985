"""What the variables of the server do to the memory of its models."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from paths import EMBEDDED

from tritone.launcher import ServerSettings, command
from tritone.launcher.binaries import Binaries
from tritone.launcher.links import Links

_SPEAK = """
import ctypes
import sys
from pathlib import Path

import numpy as np
import torch

from tritone.acoustic.placement import VocoderSettings
from tritone.compute import keep_kernels
from tritone.families import open_model

NAMES = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"


class Heap(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in NAMES.split()]


keep_kernels(160)
model = open_model(Path(sys.argv[1]))
settings = VocoderSettings(dtype=torch.float32)
vocoder = model.family.load_vocoder(model.folder, model.config, settings)
for frames in (180, 395, 260, 330, 215, 370):
    mel = np.zeros((vocoder.bins, frames), np.float32)
    vocoder.step(mel, vocoder.start(seed=0, speed=1.0), finalize=True)
of_process = ctypes.CDLL(None).mallinfo2
of_process.restype = Heap
print(of_process().fordblks >> 20)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="variables of glibc")
def test_long_windows_leave_no_holes_in_the_heap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Holes between kernels that live on: they fill up from one trim to the next, and a server's
    weight is then a matter of when one looks."""
    for name in [name for name in os.environ if name.startswith("MALLOC_")]:
        monkeypatch.delenv(name)
    binaries = Binaries(Path("/opt/tritonserver/bin/tritonserver"), None, {}, None)
    settings = ServerSettings(tmp_path, tmp_path / "wheel", cache_dir=tmp_path / "cache")
    environment = command.server_environment(settings, binaries, Links(Path("/nonexistent")))
    words = [sys.executable, "-c", _SPEAK, str(EMBEDDED)]
    done = subprocess.run(words, check=True, text=True, stdout=subprocess.PIPE, env=environment)
    assert int(done.stdout) < 45  # MiB; 31 were seen, and 61 with windows of 400 frames
