"""Which worker speaks what next, and what becomes of the items of one that died."""

from collections import Counter, deque
from collections.abc import Iterable

from tritone.local.offline.manifest import Item


class Backlog:
    """Items that are not spoken yet. Workers are numbers.

    Nobody can tell which item killed a worker that had several. So all of them are suspects: they
    come last, and each has a worker for itself. Only the guilty one dies again.

    batch: items of one worker at a time. tries: how often an item may be begun, if each time its
    worker dies.
    """

    def __init__(self, items: Iterable[Item], batch: int, tries: int) -> None:
        self._fresh, self._suspects = deque(items), deque[Item]()
        self._batch, self._tries = batch, tries
        self._running: dict[int, dict[str, Item]] = {}
        self._deaths: Counter[str] = Counter()

    def __bool__(self) -> bool:
        """Whether anything is not spoken yet."""
        return bool(self._fresh or self._suspects or any(self._running.values()))

    def next_for(self, worker: int) -> Item | None:
        """What the worker is to begin now, None for nothing."""
        running = self._running.setdefault(worker, {})
        if any(self._deaths[name] for name in running) or len(running) >= self._batch:
            return None
        if self._fresh:
            item = self._fresh.popleft()
        elif self._suspects and not running:
            item = self._suspects.popleft()
        else:
            return None
        running[item.id] = item
        return item

    def running(self, worker: int) -> list[Item]:
        """What the worker has begun."""
        return list(self._running.get(worker, {}).values())

    def ended(self, worker: int, item: Item) -> None:
        """The worker has spoken the item, or cannot."""
        del self._running[worker][item.id]

    def lost(self, worker: int) -> list[Item]:
        """The worker died; those of its items that are given up."""
        given_up = []
        for name, item in self._running.pop(worker, {}).items():
            self._deaths[name] += 1
            if self._deaths[name] < self._tries:
                self._suspects.append(item)
            else:
                given_up.append(item)
        return given_up
