"""What serving a network must not bring into its process."""

import subprocess
import sys
from pathlib import Path

import pytest
from paths import COSYVOICE3, EMBEDDED

_SERVE = """
import sys
from pathlib import Path

import numpy as np

from tritone.acoustic.placement import FlowSettings, VocoderSettings
from tritone.families import open_model

model = open_model(Path(sys.argv[1]))
flow = model.family.load_flow(model.folder, model.config, FlowSettings())
vocoder = model.family.load_vocoder(model.folder, model.config, VocoderSettings())
flow.warm_up()
vocoder.warm_up()
voice, increment = flow.flow.example()
frames = flow.whole(increment, voice)
wave, _ = vocoder.step(frames, vocoder.start(seed=0, speed=1.0), finalize=True)
assert len(wave)
print(*(name for name in ("torch._dynamo", "torch.onnx", "sympy", "triton") if name in sys.modules))
"""


@pytest.mark.parametrize("model", [EMBEDDED, COSYVOICE3], ids=lambda folder: folder.name)
def test_torch_s_compiler_stays_out(model: Path) -> None:
    """It takes 60 MB and 2 s; some operators import it where a tensor is on the device meta."""
    command = [sys.executable, "-c", _SERVE, str(model)]
    assert subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout == "\n"
