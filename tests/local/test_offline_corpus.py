"""A corpus and its workers without Ray: what becomes of items when something fails."""

import io
import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from fake_ray import Died, FakeRay

from tritone.acoustic.presets import SolverChoice
from tritone.errors import EnvironmentProblem, StageFailed
from tritone.llm.contract import SamplingParams
from tritone.local.offline import corpus
from tritone.local.offline.corpus import CorpusOrder, run_corpus
from tritone.local.offline.manifest import Item
from tritone.local.offline.speak import Outcome, StageSeconds
from tritone.local.offline.totals import Totals
from tritone.local.offline.worker import Desk, Worker

Act = Callable[[Item], None]
GIVEN: dict[str, Any] = {
    "profile": "cpu",
    "batch": 2,
    "threads": None,
    "precision": "int8",
    "preset": "exact",
    "sampling": SamplingParams(),
    "address": "local",
    "workers": 2,
    "cores": 1,
}


def wave(seconds: float) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.zeros(int(seconds * 8000)), 8000, format="WAV")
    return file.getvalue()


def worker_that(act: Act, opening: Callable[[], None] = lambda: None) -> type[Worker]:
    """Speaks half a second of silence, once it has done `act`."""

    class Silent(Worker):
        def _load(self) -> None:
            opening()

        def speak(self, item: Item) -> Outcome:
            if item.request.text == "refused":
                return Outcome(item, StageSeconds(), problem="voice: is refused")
            act(item)
            self._place.write(f"{item.id}.wav", wave(0.5))
            if item.request.text == "late":
                raise Died("after it had spoken")
            return Outcome(item, StageSeconds(), 0.5)

    return Silent


class Corpus:
    """A folder with a manifest of ids and texts, and a Ray that is none."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.out, self.ray = folder, folder / "out", FakeRay()
        self.begun: Counter[str] = Counter()
        self.told: list[str] = []
        monkeypatch.setattr(corpus, "import_ray", lambda address: self.ray)

    def run(self, texts: dict[str, str], worker: type[Worker], **more: Any) -> Totals:
        manifest = self.folder / "manifest.jsonl"
        rows = [json.dumps({"id": name, "text": text}) for name, text in texts.items()]
        manifest.write_text("\n".join(rows))
        paths = {"model": self.folder, "manifest": manifest, "out": str(self.out)}
        order = CorpusOrder(**{**GIVEN, **paths, "worker": worker, **more})
        return run_corpus(order, lambda line: self.told.append(str(line)))

    def count(self, item: Item) -> None:
        self.begun[item.id] += 1
        if item.request.text == "deadly":
            raise Died("of the item")

    def lines(self, name: str) -> dict[str, dict[str, Any]]:
        """By id, which no two lines have."""
        lines = [json.loads(line) for line in (self.out / name).read_text().splitlines()]
        found = {line["id"]: line for line in lines}
        assert len(found) == len(lines)
        return found


@pytest.fixture
def corpus_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Corpus:
    return Corpus(tmp_path, monkeypatch)


GOOD = {str(number): "Yes." for number in range(12)}


def test_an_item_that_kills_every_worker_is_given_up_and_no_other(corpus_in: Corpus) -> None:
    texts = {**GOOD, "bad": "deadly", "no": "refused"}
    totals = corpus_in.run({"bad": "deadly", **texts}, worker_that(corpus_in.count))
    assert (totals.spoken, totals.failed, totals.skipped) == (12, 2, 0)
    assert corpus_in.begun["bad"] == 3
    # one may have been in the same worker's hands when it was killed first
    again = [name for name in GOOD if corpus_in.begun[name] != 1]
    assert len(again) <= 1 and set(corpus_in.begun) == {*GOOD, "bad"}
    log, failures = corpus_in.lines("log.jsonl"), corpus_in.lines("failures.jsonl")
    assert set(log) == set(texts)
    assert {name: line["file"] for name, line in log.items() if line["error"] is None} == {
        name: f"{name}.wav" for name in GOOD
    }
    assert set(failures) == {"bad", "no"}
    assert failures["no"]["error"] == "voice: is refused"
    assert failures["bad"]["error"].endswith("of the item")
    assert f"process {os.getpid()}" in failures["bad"]["error"]
    assert corpus_in.ray.shut and not list(corpus_in.out.glob(".*"))
    assert corpus_in.ray.hired == [{"num_cpus": 1, "num_gpus": 0, "max_concurrency": 2}]


def test_what_a_dead_worker_had_finished_is_not_spoken_again(corpus_in: Corpus) -> None:
    totals = corpus_in.run({**GOOD, "z": "late"}, worker_that(corpus_in.count))
    assert (totals.spoken, totals.failed) == (13, 0)
    assert corpus_in.begun["z"] == 1
    assert corpus_in.lines("log.jsonl")["z"]["seconds"] == 0.5


def test_the_job_says_how_to_speak(corpus_in: Corpus) -> None:
    seen = []

    class Asked(worker_that(corpus_in.count)):  # type: ignore[misc]
        def _load(self) -> None:
            seen.append(self._job)

    corpus_in.run(GOOD, Asked, threads=3, preset="faster", precision="fp32")
    job = seen[0]
    assert (job.preset, job.precision, job.threads, job.batch) == ("faster", "fp32", 3, 2)
    assert job.model == corpus_in.folder and job.out == str(corpus_in.out)


def test_workers_find_recordings_whatever_folder_they_are_in(
    corpus_in: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    (corpus_in.folder / "anna.wav").write_bytes(wave(1.0))
    line = {"id": "a", "text": "Yes.", "prompt_wav": "anna.wav"}
    (corpus_in.folder / "lines.jsonl").write_text(json.dumps(line))
    monkeypatch.chdir(corpus_in.folder)
    seen: list[Path | None] = []
    speaking = worker_that(lambda item: seen.append(item.prompt_wav))
    corpus_in.run({}, speaking, manifest=Path("lines.jsonl"), out="out")
    assert seen == [corpus_in.folder / "anna.wav"]


def test_a_worker_loads_what_the_job_says(
    corpus_in: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[tuple[Path, dict[str, Any]]] = []
    monkeypatch.setattr(
        "tritone.local.offline.worker.LocalStages",
        lambda model, limits, **how: loaded.append((model, how)),
    )
    monkeypatch.setattr("tritone.local.offline.worker.torch.set_num_threads", lambda count: None)
    (corpus_in.folder / "marker").touch()
    out = str(corpus_in.folder)
    how = {**GIVEN, "model": corpus_in.folder, "manifest": Path("m"), "out": out, "preset": "fast"}
    assert Worker(CorpusOrder(**how).job("marker", 4, 0)).open().pid == os.getpid()
    ((model, how),) = loaded
    assert model == corpus_in.folder and how["solver"] == SolverChoice("fast")
    assert how["profile"] == "cpu" and how["language_model"] == {"slots": 2, "precision": "int8"}


def test_a_full_disk_ends_the_run_and_what_was_spoken_is_logged(corpus_in: Corpus) -> None:
    def full(item: Item) -> None:
        corpus_in.count(item)
        if item.id == "7":
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        corpus_in.run(GOOD, worker_that(full))
    log = corpus_in.lines("log.jsonl")
    assert log and set(log) <= {path.stem for path in corpus_in.out.glob("*.wav")}
    assert corpus_in.ray.shut and not list(corpus_in.out.glob(".*"))
    begun = set(corpus_in.begun)
    totals = corpus_in.run(GOOD, worker_that(corpus_in.count))
    assert totals.spoken + totals.skipped == 12 and totals.skipped >= 6
    assert set(corpus_in.lines("log.jsonl")) == set(GOOD)
    assert all(corpus_in.begun[name] == 1 for name in begun - {"7"})


def test_an_interrupt_leaves_a_log_and_no_worker(
    corpus_in: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = corpus_in.ray.wait

    def interrupted(calls: Any, **how: Any) -> Any:
        if sum(corpus_in.begun.values()) > 6:
            raise KeyboardInterrupt
        return wait(calls, **how)

    monkeypatch.setattr(corpus_in.ray, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        corpus_in.run(GOOD, worker_that(corpus_in.count))
    assert corpus_in.lines("log.jsonl") and corpus_in.ray.shut
    assert not list(corpus_in.out.glob(".*"))


def test_models_that_do_not_load_end_the_run_with_the_machine(corpus_in: Corpus) -> None:
    def broken() -> None:
        raise StageFailed("flow", "has no weights")

    with pytest.raises(EnvironmentProblem, match=r"on .*: flow: has no weights"):
        corpus_in.run(GOOD, worker_that(corpus_in.count, broken))
    assert not corpus_in.begun


def test_workers_that_die_before_they_are_ready_end_the_run(corpus_in: Corpus) -> None:
    def dies() -> None:
        raise Died("too little memory")

    with pytest.raises(StageFailed, match=r"worker: 3 in a row died .* too little memory"):
        corpus_in.run(GOOD, worker_that(corpus_in.count, dies))


def test_a_worker_that_sees_another_folder_is_refused(
    corpus_in: Corpus, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Elsewhere(worker_that(corpus_in.count)):  # type: ignore[misc]
        def open(self) -> Desk:
            from tritone.local.offline import place, worker

            monkeypatch.setattr(worker, "place_at", lambda out: place.Folder(tmp_path / "mine"))
            return super().open()

    with pytest.raises(EnvironmentProblem, match="out is not the place that the driver writes to"):
        corpus_in.run(GOOD, Elsewhere)


def test_a_cluster_that_is_full_is_told_once(corpus_in: Corpus) -> None:
    corpus_in.ray.slow = 1
    corpus_in.run(GOOD, worker_that(corpus_in.count))
    (line,) = (line for line in corpus_in.told if "no worker is ready" in line)
    assert "of whose cores 2 are free" in line


def test_more_workers_than_fit_are_refused_before_any_is_hired(corpus_in: Corpus) -> None:
    with pytest.raises(EnvironmentProblem, match="--workers: 9 with 1 core each do not fit"):
        corpus_in.run(GOOD, worker_that(corpus_in.count), workers=9)
    assert not corpus_in.begun and corpus_in.ray.shut


def test_nothing_to_do_starts_no_cluster(corpus_in: Corpus) -> None:
    corpus_in.run({"a": "Yes."}, worker_that(corpus_in.count))
    corpus_in.ray.shut = False
    totals = corpus_in.run({"a": "Yes."}, worker_that(corpus_in.count))
    assert (totals.spoken, totals.skipped) == (0, 1) and not corpus_in.ray.shut
