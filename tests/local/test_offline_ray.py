"""A corpus on Ray itself: a worker that is killed in the middle, and a driver that is."""

import importlib.util
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import soundfile
from ray_runs import Run, ray_folder, running_cluster
from waiting import is_running, wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None or importlib.util.find_spec("pyarrow") is None,
        reason="needs pip install 'tritone[ray,parquet]'",
    ),
]
TEXTS = ("Yes.", "No.", "Good morning.", "Thank you.", "See you.", "Come in.", "Well done.", "Hi.")
COPIES = 3


@pytest.fixture
def variables() -> Iterator[dict[str, str]]:
    with ray_folder() as found:
        yield found


def rows() -> list[dict[str, object]]:
    return [
        {"id": f"{copy}-{at}", "text": text, "seed": at}
        for copy in range(COPIES)
        for at, text in enumerate(TEXTS)
    ]


def ids() -> list[object]:
    return sorted(row["id"] for row in rows())


def logged(out: Path, name: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / name).read_text().splitlines()]


def written(out: Path) -> dict[str, int]:
    """When each wave was, by name."""
    return {path.name: path.stat().st_mtime_ns for path in out.glob("*.wav")}


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """What can be spoken, and two rows that cannot."""
    import pyarrow
    from pyarrow import parquet

    bad = [{"id": "x", "text": "No.", "voice": "nobody"}, {"id": "y", "text": " ", "voice": None}]
    table = pyarrow.Table.from_pylist([{**row, "voice": None} for row in rows()] + bad)
    parquet.write_table(table, tmp_path / "manifest.parquet")
    return tmp_path / "manifest.parquet"


def test_nothing_is_lost_or_doubled_whoever_is_killed(
    tmp_path: Path, manifest: Path, variables: dict[str, str]
) -> None:
    out = tmp_path / "out"
    kept = kill_a_driver(manifest, out, variables)
    with Run(manifest, f"file://{out}", "local", variables, "--workers", "2") as run:
        run.wait_for_waves(out, len(kept) + 2)
        victim = run.pids()[0]
        assert psutil.Process(victim).environ()["RAY_AUTH_MODE"] == "token", "nobody else may send"
        os.kill(victim, signal.SIGKILL)
        assert run.end() == 1, run.lines
    said = "".join(run.lines)
    assert f"died (process {victim} on " in said
    assert f"{len(rows()) - len(kept)} spoken, {len(kept)} were there, 1 failed" in said
    assert kept.items() <= written(out).items(), "none was spoken again"
    log = logged(out, "log.jsonl")
    assert sorted(line["id"] for line in log) == [*ids(), "x"]
    spoken = [line for line in log if line["error"] is None]
    assert sorted(written(out)) == sorted(line["file"] for line in spoken)
    for line in spoken:
        header = soundfile.info(out / line["file"])
        assert header.duration == pytest.approx(line["seconds"], abs=1e-4) and header.frames
    by = {line["pid"] for line in spoken if line["file"] not in kept}
    assert victim in by and len(by) >= 2 and by <= set(run.pids())
    failures = {line["line"]: (line["id"], line["error"]) for line in logged(out, "failures.jsonl")}
    assert sorted(failures) == [len(rows()) + 1, len(rows()) + 2]
    assert failures[len(rows()) + 1][0] == "x" and "nobody" in failures[len(rows()) + 1][1]
    assert failures[len(rows()) + 2][0] is None and "text" in failures[len(rows()) + 2][1]
    assert not list(out.glob(".*"))


def kill_a_driver(manifest: Path, out: Path, variables: dict[str, str]) -> dict[str, int]:
    """On a cluster that goes on; its worker must end. The waves that are there then."""
    with (
        running_cluster(variables) as (address, its_own),
        Run(manifest, str(out), address, its_own, "--workers", "1") as run,
    ):
        run.wait_for_waves(out, 2)
        run.process.kill()
        run.process.wait()
        (worker,) = run.pids()
        wait_until(lambda: not is_running(worker))
    assert len(list(out.glob(".running-*"))) == 1
    assert 2 <= len(written(out)) < len(rows())
    return written(out)
