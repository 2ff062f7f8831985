from tritone.serving.unary import TritonPythonModel

__all__ = ["TritonPythonModel"]
