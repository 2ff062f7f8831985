"""Producing and consuming at the same time: a generator in a thread of its own, and how long its
consumer waits for it."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing
from math import inf
from typing import Generic, TypeVar

from tritone.errors import Cancelled
from tritone.kept_error import KeptError

ItemT = TypeVar("ItemT")
_LOOK_S = 0.5


def awaited(
    items: Iterator[ItemT], waiting: Callable[[], AbstractContextManager[None]]
) -> Generator[ItemT, None, None]:
    """The items, each waited for inside a new context, which lasts until the item is there."""
    while True:
        with waiting():
            item = next(items, None)
        if item is None:
            return
        yield item


class RunAhead(Generic[ItemT]):
    """Iterate a generator that keeps `depth` items ahead, None for any number.

    What the generator raises is raised here, after the items before it. `close` stops it at its
    next item, waits for its clean-up, and is safe at any time; a `with` block closes. Where the
    consumer may be stuck for ever, as in a call of a model whose process has died, `unwanted` ends
    the generator as well: it is looked at while there is no room for an item.
    """

    def __init__(
        self,
        source: Generator[ItemT, None, None],
        depth: int | None = 1,
        unwanted: Callable[[], bool] = lambda: False,
    ) -> None:
        self._source, self._room = source, inf if depth is None else depth
        self._unwanted = unwanted
        self._items: deque[ItemT] = deque()
        self._error = KeptError()
        self._ended = self._stopped = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._produce, name="run-ahead", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Items that have come and were not taken."""
        return len(self._items)

    def __iter__(self) -> Iterator[ItemT]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._ended)
                if not self._items:
                    break
                item = self._items.popleft()
                self._changed.notify()
            yield item
        self._error.check()

    def close(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join()
        self._error.forget()

    def __enter__(self) -> "RunAhead[ItemT]":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _may_go_on(self) -> bool:
        return self._stopped or len(self._items) < self._room

    def _produce(self) -> None:
        try:
            with closing(self._source):
                for item in self._source:
                    if not self._put(item):
                        break
        except BaseException as error:
            self._error.keep(error)
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify()

    def _put(self, item: ItemT) -> bool:
        """Wait for room; False once nothing more is to be made. Raises Cancelled."""
        with self._changed:
            while not self._changed.wait_for(self._may_go_on, _LOOK_S):
                if self._unwanted():
                    raise Cancelled("nobody takes what is made")
            if not self._stopped:
                self._items.append(item)
                self._changed.notify()
            return not self._stopped
