"""The TensorRT-LLM that engines are built and run with. Importing this imports nothing else."""

VERSION = "0.20"
WHY_THIS_VERSION = (
    f"engines are built and run with TensorRT-LLM {VERSION} alone: other versions have other "
    "defaults and names, and the latest have no engines"
)


def is_supported(version: str) -> bool:
    """Whether engines of this TensorRT-LLM version can be built and served."""
    return version.split(".")[:2] == VERSION.split(".")
