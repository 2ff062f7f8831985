"""Starting and stopping Triton Inference Server for Tritone's model repository."""

from tritone.server.launch import TritonServer
from tritone.server.settings import ServerSettings

__all__ = ["ServerSettings", "TritonServer"]
