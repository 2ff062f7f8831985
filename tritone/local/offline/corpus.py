"""A whole corpus on a Ray cluster, from its check to its log: `tritone offline --ray`."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tritone.llm.contract import SamplingParams
from tritone.local.offline.backlog import Backlog
from tritone.local.offline.cluster import connected, import_ray, size_of
from tritone.local.offline.crew import Crew, Event
from tritone.local.offline.manifest import Item, read_manifest
from tritone.local.offline.marker import marked, take_over
from tritone.local.offline.place import place_at
from tritone.local.offline.records import Records
from tritone.local.offline.totals import Totals
from tritone.local.offline.worker import Job, Worker
from tritone.synthesis.limits import DEFAULT_LIMITS, check
from tritone.synthesis.values import SynthesisRequest

Tell = Callable[[str], object]


@dataclass(frozen=True)
class CorpusOrder:
    """What is to be spoken, where and how.

    out: folder or URL. address: of Ray. workers, cores: how many, and of each; None for as many as
    fit. tries: how often an item may be begun, if each time its worker dies. worker: the class of
    the actors. The others as in `run.Order`.
    """

    model: Path
    manifest: Path
    out: str
    profile: str
    batch: int
    threads: int | None
    precision: str
    preset: str
    sampling: SamplingParams
    address: str
    workers: int | None = None
    cores: int | None = None
    tries: int = 3
    worker: type[Worker] = Worker

    def job(self, marker: str, cores: int, gpus: int) -> Job:
        """What its workers have in common."""
        out = self.out if "://" in self.out else str(Path(self.out).absolute())
        how = (self.profile, self.batch, self.threads, self.precision, self.preset)
        return Job(self.model.absolute(), out, marker, *how, cores, gpus)


def run_corpus(order: CorpusOrder, tell: Tell) -> Totals:
    """Speak what is not there yet; tell: is called with every problem, and with what workers do.

    Raises TritoneError or OSError where it cannot start or go on. However it ends, short of a kill,
    the records are written.
    """
    ray = import_ray(order.address)
    check(SynthesisRequest("options", sampling=order.sampling), DEFAULT_LIMITS)
    manifest = read_manifest(order.manifest.absolute(), order.sampling)
    for problem in manifest.problems:
        tell(f"line {problem.line}: {problem.message}")
    place, seconds = place_at(order.out), 0.0
    with marked(place) as marker:
        there = place.sizes()
        alone = take_over(place, there, marker, tell)
        records = Records(place, there, manifest.items, manifest.problems)
        items = [item for item in manifest.items if item.id not in records.done]
        if items:
            try:
                seconds = _speak(ray, items, order, marker, records, tell)
            finally:
                records.write()
                if alone:
                    place.clear_drafts()
    skipped, bad_lines = len(manifest.items) - len(items), len(manifest.problems)
    made = (records.audio_s, seconds)
    return Totals(records.spoken, skipped, records.failed, bad_lines, *made)


def _speak(
    ray: Any, items: list[Item], order: CorpusOrder, marker: str, records: Records, tell: Tell
) -> float:
    """Speak the items; the seconds that it took from the first ready worker on."""
    with connected(ray, order.address):
        on_gpu = order.profile != "cpu"
        size = size_of(ray.nodes(), on_gpu=on_gpu, workers=order.workers, cores=order.cores)
        crew = Crew(ray, order.job(marker, size.cores, size.gpus), tell, order.worker)
        backlog = Backlog(items, order.batch, order.tries)
        bar = tqdm(total=len(items), unit="utterance", smoothing=0.05)
        try:
            with bar:
                return _Direction(backlog, crew, records, tell, bar).run(
                    min(size.workers, len(items))
                )
        finally:
            crew.close()


@dataclass(frozen=True)
class _Direction:
    """Who does what, until nothing is left."""

    backlog: Backlog
    crew: Crew
    records: Records
    tell: Tell
    bar: tqdm

    def run(self, workers: int) -> float:
        """The seconds from the first ready worker on."""
        for number in range(workers):
            self.crew.hire(number)
        begin = None
        while self.backlog:
            event = self.crew.wait()
            begin = begin or time.perf_counter()
            if event.outcome:
                self._ended(event)
            elif event.death:
                self._bury(event)
                self.crew.hire(event.worker)
            for number in self.crew.desks:
                while item := self.backlog.next_for(number):
                    self.crew.give(number, item)
        return time.perf_counter() - (begin or time.perf_counter())

    def _ended(self, event: Event) -> None:
        assert event.outcome is not None
        item = event.outcome.item
        self.backlog.ended(event.worker, item)
        if event.outcome.problem:
            self._failed(item, event.outcome.problem, event)
        else:
            self._spoken(item, event.outcome.audio_s, event)

    def _bury(self, event: Event) -> None:
        """A worker died: of its items some have their file already, and some may be given up."""
        for item in self.backlog.running(event.worker):
            if (seconds := self.records.found(item)) is not None:
                self.backlog.ended(event.worker, item)
                self._spoken(item, seconds, event)
        for item in self.backlog.lost(event.worker):
            self._failed(item, event.death, event)

    def _spoken(self, item: Item, seconds: float, event: Event) -> None:
        self.records.speech(item, seconds, **_who(event))
        self.bar.update()

    def _failed(self, item: Item, cause: str, event: Event) -> None:
        self.records.failure(item, cause, **_who(event))
        self.tell(f"line {item.line} ({item.id}): {cause}")
        self.bar.update()


def _who(event: Event) -> dict[str, object]:
    """For an item's line in the log."""
    assert event.desk is not None, "items are given to workers that are ready"
    return {"worker": event.worker, "pid": event.desk.pid, "host": event.desk.host}
