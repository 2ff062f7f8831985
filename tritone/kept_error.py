"""An error that one thread leaves for another to raise."""


class KeptError:
    """One at most, given away when it is raised.

    An error knows the frames that it came through, and these know who keeps it. In such a circle
    all that they hold, a stream's audio and its places in Triton's shared memory among it, waits
    for the garbage collector, which may come after hundreds of streams.
    """

    def __init__(self) -> None:
        self._error: BaseException | None = None

    def __bool__(self) -> bool:
        return self._error is not None

    def keep(self, error: BaseException) -> None:
        self._error = error

    def forget(self) -> None:
        self._error = None

    def check(self) -> None:
        """Raise it, if there is one."""
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
        finally:
            del error  # this frame is one of those that it knows
