"""Starting and stopping Triton Inference Server for Tritone's model repository."""

from typing import TYPE_CHECKING, Any

from tritone.launcher.settings import ServerSettings

if TYPE_CHECKING:
    from tritone.launcher.launch import TritonServer

__all__ = ["ServerSettings", "TritonServer"]


def __getattr__(name: str) -> Any:
    if name == "TritonServer":  # the doctor reads settings where what it imports may be broken
        from tritone.launcher.launch import TritonServer

        return TritonServer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
