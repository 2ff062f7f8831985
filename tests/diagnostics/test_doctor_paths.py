"""The doctor's check of the names of folders, and whose the cache is."""

from dataclasses import replace
from pathlib import Path

import pytest
from machine_target import check, target_in

from tritone.diagnostics.doctor.check import Status
from tritone.diagnostics.doctor.checks.machine import paths
from tritone.diagnostics.doctor.target import Target
from tritone.errors import EnvironmentProblem


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return target_in(tmp_path)


def test_plain_names(target: Target) -> None:
    found = check("paths")(replace(target, model_repository=target.model_dir))
    assert found.status is Status.PASS
    assert "all plain" in found.text


def test_what_will_be_linked_is_named(target: Target) -> None:
    odd = target.cache_dir / "模 型"
    found = check("paths")(replace(target, model_dir=odd))
    assert found.status is Status.PASS
    assert f"served through links in {target.shm_dir}: model {odd}" in found.text


def test_a_user_without_a_home(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.getuid", lambda: 54321)
    assert "has no home (HOME is not set)" in check("paths")(target).text


def test_a_strangers_cache(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(cache_dir: Path) -> None:
        raise EnvironmentProblem(f"the cache {cache_dir} belongs to user 1; choose another")

    monkeypatch.setattr(paths, "check_owner", refuse)
    found = check("paths")(target)
    assert found.status is Status.FAIL
    assert found.fix == "choose another"
