"""Whether anybody still waits for what a request to an inner model asks for."""

import os
from collections.abc import Callable
from functools import partial
from typing import Any

from tritone.acoustic.unwanted import never
from tritone.serving.messages import parameter
from tritone.triton_models import PLACE_PARAMETER
from tritone.unwanted_board import UnwantedBoard
from tritone.variables import UNWANTED_VARIABLE

BOARD = UnwantedBoard.inherited(os.environ, UNWANTED_VARIABLE)
"""Of this server; None without a launcher: then all work is done to its end."""


def unwanted(request: Any) -> Callable[[], bool]:
    """Whether the stream that it belongs to has been given up."""
    place = parameter(request, PLACE_PARAMETER)
    return partial(BOARD.unwanted, place) if BOARD and isinstance(place, int) else never
