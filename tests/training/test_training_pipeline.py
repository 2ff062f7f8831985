"""The order in which stages run, with a shell script in the place of the stages' processes."""

import importlib
import signal
import sys
from pathlib import Path

import pytest
import torch
from trained_work import CONFIG
from waiting import is_running, wait_until

from training import __main__ as command
from training import pipeline
from training.config import VoiceConfig
from training.pipeline import STAGES, Pipeline, Stage

# Called as: python -m training NAME --work WORK --config FILES...
SCRIPT = """#!/bin/sh
echo "$@"
echo "begin $3" >> "$5/events"
if [ -e "$5/wait_$3" ]; then while ! [ -e "$5/go_$3" ]; do sleep 0.02; done; fi
if [ -e "$5/fail_$3" ]; then echo "no luck" >&2; exit 3; fi
if [ "$3" = pair ]; then touch "$5/go_first"; fi
echo "end $3" >> "$5/events"
"""
FAKES = (
    Stage("first", "nowhere:first"),
    Stage("second", "nowhere:second", ("first",)),
    Stage("pair", "nowhere:pair"),
    Stage("last", "nowhere:last", ("second", "pair")),
)
NAMES = {stage.name for stage in FAKES}


@pytest.fixture(autouse=True)
def fake_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "python"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    monkeypatch.setattr(pipeline, "STAGES", FAKES)
    monkeypatch.setattr(pipeline, "POLL_SECONDS", 0.02)


@pytest.fixture()
def work(tmp_path: Path) -> Path:
    work = tmp_path / "work"
    work.mkdir()
    return work


def events(work: Path) -> list[str]:
    return (work / "events").read_text().splitlines()


def test_a_stage_waits_for_those_it_comes_after(work: Path) -> None:
    Pipeline(work, [CONFIG], cores=4).run()
    order = events(work)
    assert sorted(order) == sorted(f"{what} {name}" for name in NAMES for what in ("begin", "end"))
    for stage in FAKES:
        for name in stage.after:
            assert order.index(f"end {name}") < order.index(f"begin {stage.name}")
    assert {path.name for path in (work / "done").iterdir()} == NAMES
    log = (work / "logs" / "last.log").read_text()
    assert log == f"-m training last --work {work} --config {CONFIG}\n"


def test_two_stages_run_side_by_side(work: Path) -> None:
    (work / "wait_first").touch()  # until "pair" runs, which can only be beside it
    Pipeline(work, [CONFIG], cores=2).run()
    order = events(work)
    assert order.index("begin pair") < order.index("end first")


def test_one_core_runs_one_stage_at_a_time(work: Path) -> None:
    Pipeline(work, [CONFIG], cores=1).run()
    begun, ended = events(work)[::2], events(work)[1::2]
    assert begun == ["begin first", "begin second", "begin pair", "begin last"]
    assert ended == ["end first", "end second", "end pair", "end last"]


def test_a_failing_stage_ends_the_run_with_the_name_of_its_log(work: Path) -> None:
    (work / "fail_second").touch()
    with pytest.raises(SystemExit, match=r"second ended with status 3: see .*logs/second\.log"):
        Pipeline(work, [CONFIG], cores=1).run()
    assert "no luck" in (work / "logs" / "second.log").read_text()
    assert events(work) == ["begin first", "end first", "begin second"]
    assert [path.name for path in (work / "done").iterdir()] == ["first"]


def test_a_failure_ends_the_other_stages_too(work: Path) -> None:
    (work / "fail_pair").touch()
    (work / "wait_first").touch()  # for ever
    running = Pipeline(work, [CONFIG], cores=2)
    with pytest.raises(SystemExit, match="pair ended with status 3"):
        running.run()
    assert list(running._running) == ["first"]
    assert running._running["first"].wait(60) == -signal.SIGTERM


def test_a_second_run_skips_what_is_done(work: Path) -> None:
    (work / "fail_second").touch()
    with pytest.raises(SystemExit):
        Pipeline(work, [CONFIG], cores=1).run()
    (work / "fail_second").unlink()
    Pipeline(work, [CONFIG], cores=1).run()
    assert events(work).count("begin first") == 1
    assert events(work).count("begin second") == 2
    Pipeline(work, [CONFIG], cores=1).run()
    assert len(events(work)) == 3 + 6


def test_every_stage_exists_and_follows_those_it_reads() -> None:
    names = [stage.name for stage in STAGES]
    assert len(set(names)) == len(names)
    for index, stage in enumerate(STAGES):
        assert set(stage.after) <= set(names[:index])
        for family in ("cosyvoice2", "cosyvoice3"):
            module, function = stage.target_of(family).split(":")
            assert callable(getattr(importlib.import_module(module), function))


def test_a_family_has_stages_of_its_own(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flow = next(stage for stage in STAGES if stage.name == "flow")
    assert flow.target_of("cosyvoice2") == flow.target
    called = []
    monkeypatch.setattr("training.train_dit.train", lambda *_: called.append("flow"))
    files = ["--config", str(CONFIG), str(CONFIG.with_name("cosyvoice3.yaml"))]
    threads = torch.get_num_threads()
    for name in ("flow", "listener"):
        monkeypatch.setattr(sys, "argv", ["training", name, "--work", str(work), *files])
        command.main()
    torch.set_num_threads(threads)
    assert called == ["flow"]


def test_one_stage_by_name(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called = []

    def stage(work: Path, voice: VoiceConfig) -> None:
        called.append((work, voice.corpus.seed))

    change = work / "change.yaml"
    change.write_text("corpus: {seed: 99}\n")
    files = ["--config", str(CONFIG), str(change)]
    monkeypatch.setattr("training.corpus.write", stage)
    monkeypatch.setattr(sys, "argv", ["training", "corpus", "--work", str(work), *files])
    threads = torch.get_num_threads()
    command.main()
    torch.set_num_threads(threads)
    assert called == [(work, 99)]


def test_the_workers_of_a_stage_are_stopped_with_it(work: Path, tmp_path: Path) -> None:
    """The stage that runs has a child of its own when another one fails."""
    script = tmp_path / "python"
    forking = 'if [ "$3" = first ]; then sleep 300 & echo $! > "$5/child"; wait; fi\n'
    script.write_text(SCRIPT.replace("if [ -e", forking + "if [ -e", 1))
    failing = 'while ! [ -s "$5/child" ]; do sleep 0.02; done; exit 3\n'
    script.write_text(
        script.read_text().replace("if [ -e", f'[ "$3" = pair ] && {{ {failing}}}\nif [ -e', 1)
    )
    with pytest.raises(SystemExit, match="pair ended with status 3"):
        Pipeline(work, [CONFIG], cores=2).run()
    child = int((work / "child").read_text())
    wait_until(lambda: not is_running(child))
