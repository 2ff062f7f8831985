"""A machine with a GPU and TensorRT, as far as plans can tell."""

import sys
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import fake_tensorrt
import pytest
import torch

from tritone.engines.machine import Machine

H200 = Machine("NVIDIA H200", "9.0", "570.124.06", fake_tensorrt.__version__)


class Stream:
    cuda_stream = 7

    def __init__(self, device: Any = None) -> None:
        self.waited: list[Any] = []

    def wait_stream(self, stream: Any) -> None:
        self.waited.append(stream)


def plug_in(monkeypatch: pytest.MonkeyPatch, *, free_bytes: int = 64 << 30) -> None:
    """Let torch see one H200 whose memory is the host's, and tensorrt be importable."""
    monkeypatch.setitem(sys.modules, "tensorrt", fake_tensorrt)
    fake_tensorrt.built.clear()
    fake_tensorrt.break_next.clear()
    device = torch.device("cpu")
    replaced = {
        "device_count": lambda: 1,
        "get_device_name": lambda *a: H200.gpu,
        "get_device_capability": lambda *a: (9, 0),
        "mem_get_info": lambda *a: (free_bytes, 80 << 30),
        "Stream": Stream,
        "current_stream": lambda *a: Stream(),
        "stream": lambda stream: nullcontext(),
        "device": lambda d: nullcontext(),
    }
    for name, value in replaced.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda *a: None)
    first_device = SimpleNamespace(device=lambda *a: device)
    monkeypatch.setattr("tritone.engines.plans.torch", first_device)
    answer = SimpleNamespace(stdout=f"{H200.driver}\n")
    monkeypatch.setattr("tritone.engines.machine.subprocess.run", lambda *a, **k: answer)
