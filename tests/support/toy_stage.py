"""A stage for `benchmarks.stage_processes`, as a process can open it."""

import os

from benchmarks.stage_processes import Answer, Call, Send, failed
from tritone.errors import Overloaded


class Counting:
    """count: answers 1 to so many, then None. fail, full: errors. end: the process ends."""

    together = 8

    def take(self, calls: list[Call], send: Send) -> None:
        for call in calls:
            if call.name == "end":
                os._exit(1)
            if call.name in ("fail", "full"):
                error = Overloaded("no room") if call.name == "full" else KeyError("lost")
                send(failed(call, error))
                continue
            for value in (*range(1, call.given + 1), None):
                send(Answer(call.number, value))

    def close(self) -> None:
        pass


def broken() -> Counting:
    raise OSError("no such model")
