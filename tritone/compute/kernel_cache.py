"""How many prepared kernels this process keeps. Importing this imports no torch."""

import os

VARIABLE = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"


def keep_kernels(count: int) -> None:
    """Have oneDNN keep so many, unless the environment says how many; before the first is made.

    On a CPU, torch prepares one for each layer and each shape that it has seen: with too few they
    are made again and again, with many the process grows for hours. oneDNN's own limit is 1024.
    """
    os.environ.setdefault(VARIABLE, str(count))
