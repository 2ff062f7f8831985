"""Starting and stopping Triton Inference Server for Tritone's model repository."""

from tritone.launcher.launch import TritonServer
from tritone.launcher.settings import ServerSettings

__all__ = ["ServerSettings", "TritonServer"]
