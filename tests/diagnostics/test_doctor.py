"""The doctor itself: isolation, time limits, repair, report. Its checks have tests of their own."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from doctor_checks import ABSENT, BROKEN, COMPANY, CRASHES, GOOD, HANGS, LACKS
from out_of_time import by_marks
from paths import PROJECT, SUPPORT
from waiting import is_running

from tritone.cli.doctor import known_checks
from tritone.diagnostics.doctor.catalogue import chosen
from tritone.diagnostics.doctor.check import Finding, Status
from tritone.diagnostics.doctor.checks.python import IMPORTS
from tritone.diagnostics.doctor.examine import examine
from tritone.diagnostics.doctor.report import as_json, exit_status, table
from tritone.diagnostics.doctor.target import Target

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _found_by_their_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(SUPPORT))
    by_marks(monkeypatch, tmp_path / "marks")


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return Target(model_dir=Path("/voice"), cache_dir=tmp_path, http_port=1234)


def test_a_target_survives_the_way_to_another_process(tmp_path: Path) -> None:
    for target in (Target(), Target(releases={"x": tmp_path}, server=False, profile="gpu")):
        assert Target.from_json(target.to_json()) == target


def test_findings_come_in_the_order_of_the_checks(target: Target) -> None:
    good, absent = examine([GOOD, ABSENT], target)
    assert good.finding == Finding(Status.PASS, "voice and 1234")
    assert absent.finding.status is Status.SKIP
    assert exit_status([good, absent]) == 0


def test_a_check_that_hangs_is_named_with_where_it_was(target: Target) -> None:
    (diagnosis,) = examine([HANGS], target)
    assert diagnosis.finding.status is Status.FAIL
    assert "did not end within 0.5 s" in diagnosis.finding.text
    assert "doctor_checks.py" in diagnosis.finding.text
    assert "sleep_for_ever" in diagnosis.finding.text
    assert diagnosis.finding.fix == "look at toy.hangs again"
    assert "in hangs" in diagnosis.stacks


def test_nothing_of_a_check_that_hangs_is_left(target: Target) -> None:
    (diagnosis,) = examine([COMPANY], target)
    assert "sleep_for_ever" in diagnosis.finding.text  # not the other thread's place
    daemon = int((target.cache_dir / "daemon").read_text())
    assert not is_running(daemon)


@pytest.mark.parametrize("check, sign", [(BROKEN, "not what was meant"), (CRASHES, "status -6")])
def test_a_check_that_breaks_is_a_failure_of_its_own(check, sign, target: Target) -> None:
    broken, good = examine([check, GOOD], target)
    assert broken.finding.status is Status.FAIL
    assert sign in broken.finding.text
    assert check.name in broken.finding.fix
    assert good.finding.status is Status.PASS


def test_only_fix_repairs_and_the_check_looks_again(target: Target) -> None:
    (before,) = examine([LACKS], target)
    assert before.finding.status is Status.FAIL
    (after,) = examine([LACKS], target, fix=True)
    assert after.finding == Finding(Status.PASS, "it is there (repaired: made it)")


def test_the_table_has_a_line_a_check_and_the_fix_below(target: Target) -> None:
    diagnoses = examine([GOOD, ABSENT, LACKS], target)
    lines = table(diagnoses).splitlines()
    assert [line.split()[:2] for line in lines[:3]] == [
        ["pass", "toy.good"],
        ["skip", "toy.absent"],
        ["fail", "toy.lacks"],
    ]
    assert lines[3].strip() == "-> touch mended"
    assert lines[-1] == "1 pass, 1 fail, 1 skip"
    assert "\033[31mfail" in table(diagnoses, colour=True)


def test_checks_left_out_for_one_reason_share_a_line(target: Target) -> None:
    twins = [replace(ABSENT, name=f"toy.{name}") for name in ("one", "two")]
    diagnoses = examine([GOOD, *twins], target)
    assert [line.split()[:3] for line in table(diagnoses).splitlines()[:2]] == [
        ["pass", "toy.good", "voice"],
        ["skip", "toy", "(2"],
    ]
    assert table(diagnoses).endswith("1 pass, 2 skip")
    assert len(table(diagnoses, verbose=True).splitlines()) == 5


def test_json_has_what_the_table_has(target: Target) -> None:
    report = json.loads(as_json(examine([GOOD, LACKS], target)))
    assert report["exit_status"] == 2
    assert [(c["check"], c["status"]) for c in report["checks"]] == [
        ("toy.good", "pass"),
        ("toy.lacks", "fail"),
    ]
    assert report["checks"][1]["fix"] == "touch mended"


def test_checks_have_names_of_their_own_and_are_chosen_by_group() -> None:
    checks = known_checks()
    names = [check.name for check in checks]
    assert len(set(names)) == len(names)
    assert all(name.count(".") == 1 for name in names)
    group = checks[0].group
    assert {check.group for check in chosen(checks, [group])} == {group}
    with pytest.raises(ValueError, match="'nonsense' is no check"):
        chosen(checks, ["nonsense"])


def test_the_checks_need_nothing_that_may_be_broken() -> None:
    """Each process imports its check, and must be able to say what is wrong with the rest.

    The command itself needs typer and tqdm, which read and show its command line.
    """
    code = "import sys, tritone.cli.doctor as d; d.known_checks(); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT
    )
    others = {"numpy", "pydantic", "torch", "onnxruntime", "grpc", "safetensors", "tritonclient"}
    others |= {"psutil", "rich"}
    assert "tritone.diagnostics.doctor.checks.mpi" in done.stdout.split()
    assert "tritone.families.indextts2.doctor" in done.stdout.split()
    assert not others & set(done.stdout.split())


def test_the_command_says_what_is_wrong_with_it() -> None:
    command = [sys.executable, "-m", "tritone", "doctor", "--only", "nonsense"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "'nonsense' is no check" in done.stderr


@pytest.mark.parametrize("broken", ["psutil", "numpy", "torch", "rich", "grpc"])
def test_it_runs_where_a_package_cannot_be_imported(broken: str, tmp_path: Path) -> None:
    """pydantic is not among them: typer, the command's own library, needs it."""
    error = f"raise ModuleNotFoundError('No module named {broken}', name={broken!r})"
    (tmp_path / f"{broken}.py").write_text(error)
    only = ["python.imports", "machine.cpu", "machine.memory", "model.files", "indextts2.files"]
    done = subprocess.run(
        [sys.executable, "-m", "tritone", "doctor", "--json", "--only", *only],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    module = {"grpc": "tritonclient.grpc"}.get(broken, broken)
    needed = module in IMPORTS  # by the models and the launcher
    assert done.returncode == 2 or not needed, done.stderr
    checks = {check["check"]: check for check in json.loads(done.stdout)["checks"]}
    imports = checks.pop("python.imports")
    assert (f"{module} does not import: " in imports["text"]) == needed
    assert imports["fix"].endswith(f" {IMPORTS[module]}" if needed else "")
    assert imports["status"] == ("fail" if needed else "pass")
    memory = checks["machine.memory"]
    assert (memory["status"] == "skip") == (broken == "psutil")
    if broken == "psutil":
        assert memory["text"] == "psutil cannot be imported: see python.imports"
    assert "fail" not in {check["status"] for check in checks.values()}


def test_checks_at_the_same_time_need_no_psutil(tmp_path: Path) -> None:
    """Several threads import it while that import is about to fail."""
    error = "raise ModuleNotFoundError('No module named psutil', name='psutil')"
    (tmp_path / "psutil.py").write_text(f"import time\ntime.sleep(0.3)\n{error}\n")
    code = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from tritone.diagnostics.doctor.isolated import run_isolated\n"
        "with ThreadPoolExecutor(4) as pool:\n"
        "    outcomes = list(pool.map(run_isolated, [['true']] * 4, [60.0] * 4))\n"
        "print([outcome.status for outcome in outcomes])\n"
    )
    path = os.pathsep.join([str(tmp_path), str(PROJECT)])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("[0, 0, 0, 0]\n", "")
