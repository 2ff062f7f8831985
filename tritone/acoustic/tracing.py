"""Whether a graph is being recorded for export."""

import torch


def is_traced() -> bool:
    """True while `torch.onnx.export` traces: what it records must be plain operators."""
    return bool(torch.jit.is_tracing())  # type: ignore[attr-defined, no-untyped-call]
