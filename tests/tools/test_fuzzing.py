"""A small sample of `make fuzz` on files, and what its table is made of."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import strategies as st

from fuzzing.__main__ import table
from fuzzing.campaign import Outcome, Target, Verdict, attempt, shared
from fuzzing.damage import Damaged
from fuzzing.files import Child, file_targets
from fuzzing.loaders import LOADERS
from fuzzing.wire import judged

# Those of whole networks, and of texts, take seconds.
QUICK = [name for name, loader in LOADERS.items() if loader.share >= 10]


@pytest.fixture(scope="module")
def child() -> Iterator[Child]:
    child = Child()
    yield child
    child.end()


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_damaged_files_are_refused_by_name(child: Child, name: str) -> None:
    with file_targets(name, child) as (target,):
        outcome = attempt(target, 12, seed=0)
    assert outcome.cases and not outcome.faults, outcome.faults


@pytest.mark.slow
def test_a_process_that_dies_is_a_fault_and_another_goes_on(tmp_path: Path) -> None:
    child = Child()
    good = tmp_path / "lexicon.tsv"
    good.write_text("a\tb\n")
    try:
        assert child.load("lexicon", good, good).kind == "accepted"
        process = child._process
        assert process is not None
        os.kill(process.pid, signal.SIGSTOP)
        os.kill(process.pid, signal.SIGKILL)
        assert child.load("lexicon", good, good) == ("fault", "the process ended: SIGKILL")
        assert child.load("lexicon", good, good).kind == "accepted"
    finally:
        child.end()


def test_the_same_seed_tries_the_same_and_faults_do_not_end_it() -> None:
    def run(seed: int) -> tuple[list[int], Outcome]:
        seen: list[int] = []

        def tried(case: int) -> Verdict:
            seen.append(case)
            return Verdict("fault", f"{case} is odd") if case % 2 else Verdict("accepted")

        return seen, attempt(Target("numbers", st.integers(0, 10**9), tried), 50, seed)

    first, outcome = run(1)
    assert first == run(1)[0] != run(2)[0]
    assert outcome.cases == len(first) and outcome.accepted + outcome.faulty == len(first)
    (fault,) = outcome.faults.values()  # of one kind, whatever the number
    assert "is odd" in fault and "case: " in fault
    assert f"| total | {len(first)} | 0 |" in table([outcome])


def test_every_target_has_a_share() -> None:
    assert shared({"a": 1, "b": 3}, 100) == {"a": 25, "b": 75}
    assert shared({"a": 1, "b": 1000}, 10)["a"] == 1


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("INVALID_ARGUMENT: speed: is 9.0; the limits are 0.5 and 2.0", "refused"),
        ("InvalidRequest: speed: is 9.0", "refused"),
        ("INVALID_ARGUMENT: NOTHING_TO_SAY: speed: has nothing", "refused"),
        ("unexpected shape for input 'speed'", "refused"),
        ("InvalidRequest: tempo: is 9.0", "fault"),
        ("INTERNAL: vocoder: KeyError: 'speed'", "fault"),
        ("cannot reshape array of size 3", "fault"),
        ("", "fault"),
    ],
)
def test_an_error_is_clear_or_it_is_a_fault(message: str, kind: str) -> None:
    assert judged(message, frozenset({"speed"})).kind == kind


@pytest.mark.parametrize("form", ["file", "directory", "missing", "loop", "dangling"])
def test_what_stands_in_the_place_of_a_file(tmp_path: Path, form: str) -> None:
    path = tmp_path / "a"
    Damaged(b"x", form).write(path)  # type: ignore[arg-type]
    assert path.is_file() == (form == "file") and path.is_dir() == (form == "directory")
    assert path.is_symlink() == (form in ("loop", "dangling"))
