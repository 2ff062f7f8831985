"""What the processes of a server inherit from its launcher."""

import os

from tritone import unwanted_board
from tritone.launcher.model_watch import Beats
from tritone.variables import BEATS_VARIABLE, UNWANTED_VARIABLE


class Inheritance:
    """Descriptors, and the variables that name some. lock: a further one that they keep open.
    `close` once the server's beats are not read any more."""

    def __init__(self, lock: int) -> None:
        self._lock = lock
        self.beats, self._board = Beats(), unwanted_board.create()

    @property
    def descriptors(self) -> tuple[int, ...]:
        return self._lock, self.beats.sender, self._board

    @property
    def variables(self) -> dict[str, str]:
        return {BEATS_VARIABLE: str(self.beats.sender), UNWANTED_VARIABLE: str(self._board)}

    def close(self) -> None:
        self.beats.close()
        os.close(self._board)
