"""The public model: text in, audio chunks out, over the other models."""

from tritone.serving.orchestrator import TritonPythonModel

__all__ = ["TritonPythonModel"]
