"""A corpus on several machines, without them: who speaks what, where it goes, what is noted."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tritone.errors import EnvironmentProblem
from tritone.local.offline.backlog import Backlog
from tritone.local.offline.cluster import Size, size_of
from tritone.local.offline.manifest import Item, Problem
from tritone.local.offline.place import Place, place_at
from tritone.local.offline.records import Records
from tritone.synthesis.values import SynthesisRequest


def items(*names: str) -> list[Item]:
    return [Item(line, name, SynthesisRequest(name)) for line, name in enumerate(names, start=1)]


def wave(seconds: float) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.zeros(int(seconds * 8000)), 8000, format="WAV")
    return file.getvalue()


def begun(backlog: Backlog, worker: int) -> list[str]:
    """What a worker takes until it has enough."""
    taken = []
    while item := backlog.next_for(worker):
        taken.append(item.id)
    return taken


def test_items_of_a_dead_worker_come_last_and_alone() -> None:
    a, b, c, d = items("a", "b", "c", "d")
    backlog = Backlog([a, b, c, d], batch=2, tries=3)
    assert begun(backlog, 0) == ["a", "b"]
    assert backlog.lost(0) == []
    assert begun(backlog, 0) == ["c", "d"]  # what nobody suspects comes first
    backlog.ended(0, c)
    assert begun(backlog, 0) == []  # beside d, a suspect could hide
    backlog.ended(0, d)
    assert begun(backlog, 0) == ["a"]
    assert begun(backlog, 1) == ["b"]
    backlog.ended(1, b)
    assert backlog.lost(0) == []
    assert begun(backlog, 1) == ["a"]
    assert backlog.lost(1) == [a]  # the third death
    assert not backlog


def test_who_speaks_nothing_loses_nothing() -> None:
    backlog = Backlog(items("a"), batch=2, tries=1)
    assert backlog.lost(7) == [] and backlog
    assert [item.id for item in (backlog.next_for(1),) if item] == ["a"]
    assert [item.id for item in backlog.running(1)] == ["a"]


def node(cpus: float, gpus: float = 0, alive: bool = True) -> dict[str, object]:
    return {"Alive": alive, "Resources": {"CPU": cpus, "GPU": gpus}}


@pytest.mark.parametrize(
    ("nodes", "asked", "size"),
    [
        ([node(16), node(9)], {}, Size(6, 4, 0)),
        ([node(2)], {"workers": 2}, Size(2, 1, 0)),
        ([node(8), node(3)], {"workers": 5}, Size(5, 2, 0)),
        ([node(2)], {}, Size(1, 2, 0)),
        ([node(16), node(2)], {}, Size(9, 2, 0)),
        ([node(16), node(64, alive=False)], {"workers": 3}, Size(3, 4, 0)),
        ([node(2)], {"workers": 2, "cores": 1}, Size(2, 1, 0)),
        ([node(16, 2), node(32), node(12, 4)], {"on_gpu": True}, Size(6, 3, 1)),
    ],
)
def test_there_are_as_many_workers_as_fit(
    nodes: list[dict[str, object]], asked: dict[str, object], size: Size
) -> None:
    assert size_of(nodes, **{"on_gpu": False, "workers": None, "cores": None, **asked}) == size


@pytest.mark.parametrize(
    ("nodes", "asked", "words"),
    [
        (
            [node(4)],
            {"workers": 3, "cores": 2},
            "3 with 2 cores each do not fit .* 2 do; .*: 4 and 0",
        ),
        ([node(4)], {"cores": 8}, "1 with 8 cores each do not fit .* 0 do"),
        ([node(4)], {"on_gpu": True}, "1 with 1 core and a GPU each do not fit .* nodes: none"),
    ],
)
def test_workers_that_do_not_fit_are_refused(
    nodes: list[dict[str, object]], asked: dict[str, object], words: str
) -> None:
    with pytest.raises(EnvironmentProblem, match=words):
        size_of(nodes, **{"on_gpu": False, "workers": None, "cores": None, **asked})


@pytest.fixture(params=["folder", "store"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty one; the store is fsspec's own, in memory."""
    url = f"memory://{tmp_path.name}/corpus"
    return place_at(str(tmp_path / "new" / "out") if request.param == "folder" else url)


def taken_up(place: Place, items: list[Item], problems: list[Problem]) -> Records:
    return Records(place, place.sizes(), items, problems)


def logged(place: Place, name: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in place.read(name).splitlines()]


def test_records_have_one_line_an_item_over_several_runs(place: Place) -> None:
    a, b, c, d = items("a", "b", "c", "d")
    first = taken_up(place, [a, b, c, d], [Problem(5, "text: is empty")])
    assert first.done == set()
    place.write("a.wav", wave(1.5))
    first.speech(a, 1.5, worker=0)
    first.failure(b, "llm: broke", worker=1)
    first.write()
    assert logged(place, "failures.jsonl") == [
        {"id": None, "line": 5, "error": "text: is empty"},
        {"id": "b", "line": 2, "error": "llm: broke"},
    ]
    place.write("c.wav", wave(0.5))  # and killed before its line was written
    place.write("d.wav", b"")  # a machine lost its power here

    again = taken_up(place, [a, b, c, d], [])
    assert again.done == {"a", "c"}
    again.speech(b, 2.0)
    again.write()
    assert (again.spoken, again.failed, again.audio_s) == (1, 0, 2.0)
    assert [(r["id"], r["seconds"], r["error"]) for r in logged(place, "log.jsonl")] == [
        ("a", 1.5, None),
        ("c", 0.5, None),
        ("b", 2.0, None),
    ]
    assert logged(place, "failures.jsonl") == []


def test_a_file_that_is_no_speech_is_spoken_again(place: Place) -> None:
    place.write("a.wav", b"x" * 100)
    assert taken_up(place, items("a"), []).done == set()
    assert logged(place, "log.jsonl") == []


def test_the_log_is_written_on_the_way(place: Place) -> None:
    names = [str(number) for number in range(300)]
    records, written = taken_up(place, items(*names), []), 0
    for count, item in enumerate(items(*names), start=1):
        records.speech(item, 1.0)
        written = len(logged(place, "log.jsonl"))
        assert count - written < max(20, count / 10)
    assert written < len(names)
    records.write()
    assert [line["id"] for line in logged(place, "log.jsonl")] == names


def test_a_log_survives_another_manifest_and_a_torn_line(place: Place) -> None:
    place.write("old.wav", wave(1.0))
    place.write("log.jsonl", b'{"id": "old", "file": "old.wav"}\n["x"]\n{"id": "gone", "fi')
    taken_up(place, items("new"), [])
    assert logged(place, "log.jsonl") == [{"id": "old", "file": "old.wav"}]
