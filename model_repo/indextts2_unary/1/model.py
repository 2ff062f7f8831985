"""The public model's speech for clients that cannot stream: the whole utterance in one answer."""

from tritone.serving.unary import TritonPythonModel

__all__ = ["TritonPythonModel"]
