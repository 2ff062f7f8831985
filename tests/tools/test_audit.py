"""The verdict on what pip-audit reports, without a database."""

import subprocess

import audit
import pytest

SOUND = {"name": "sound", "version": "1", "vulns": []}
BAD = {
    "name": "bad",
    "version": "2",
    "vulns": [
        {"id": "PYSEC-1", "fix_versions": ["2.1", "3"]},
        {"id": "GHSA-2", "fix_versions": []},
    ],
}
UNKNOWN = {"name": "unknown", "skip_reason": "Dependency not found"}


@pytest.mark.parametrize(
    "packages, lines, status",
    [
        ([SOUND], ["0 known vulnerabilities in 1 packages"], 0),
        (
            [SOUND, UNKNOWN],
            ["0 known vulnerabilities in 1 packages; not in the database: unknown"],
            0,
        ),
        ([UNKNOWN], ["NOT AUDITED: the database has none of the 1 packages"], 0),
        (
            [SOUND, BAD],
            [
                "bad 2: PYSEC-1, fixed in 2.1, 3",
                "bad 2: GHSA-2, fixed in no version yet",
                "2 known vulnerabilities in 2 packages",
            ],
            1,
        ),
    ],
)
def test_the_verdict(packages: list[dict], lines: list[str], status: int) -> None:
    assert audit.judge({"dependencies": packages}, "") == (lines, status)


def answer_with(monkeypatch: pytest.MonkeyPatch, outcome: object) -> None:
    def run(*_: object, **__: object) -> object:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(audit.subprocess, "run", run)


@pytest.mark.parametrize(
    "outcome, said",
    [
        (
            subprocess.CompletedProcess([], 1, "", "Traceback\nConnectionError: no route"),
            "no route",
        ),
        (subprocess.CompletedProcess([], 1, "", ""), "it said nothing"),
        (subprocess.TimeoutExpired("pip_audit", 20), "no answer within 20 s"),
    ],
)
def test_without_a_network_it_says_so_and_passes(
    monkeypatch: pytest.MonkeyPatch, outcome: object, said: str
) -> None:
    answer_with(monkeypatch, outcome)
    (line,), status = audit.judge(*audit.look_up())
    assert line.startswith("NOT AUDITED: the database of vulnerabilities was not reached: ")
    assert said in line and status == 0


def test_a_report_is_read_whatever_the_exit_status(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_with(monkeypatch, subprocess.CompletedProcess([], 1, '{"dependencies": []}', "x"))
    assert audit.look_up() == ({"dependencies": []}, "")
