"""What IndexTTS2 builds while it loads: locks, compilers, caches."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from indextts2_release import (
    CHECKS,
    KERNEL,
    folder_of,
    found,
    set_gpu,
    whole_release,
)

from tritone.diagnostics.doctor.check import Status
from tritone.diagnostics.doctor.examine import examine
from tritone.diagnostics.doctor.target import Target
from tritone.families.indextts2 import build_state

OLD = time.time() - 2 * build_state.STALE_S


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    return whole_release(tmp_path, monkeypatch)


@pytest.fixture
def lock(target: Target) -> Path:
    path = folder_of(target).parent / "indextts" / KERNEL / "lock"
    path.touch()
    os.utime(path, (OLD, OLD))
    return path


def test_a_stale_lock_is_found_and_removed(target: Target, lock: Path) -> None:
    """Through the doctor, which finds the package beside the folder."""
    (before,) = examine([CHECKS["indextts2.jit_lock"]], target)
    assert before.finding.status is Status.FAIL
    assert str(lock) in before.finding.text
    assert "wait" in before.finding.text
    assert "--fix" in before.finding.fix
    (after,) = examine([CHECKS["indextts2.jit_lock"]], target, fix=True)
    assert after.finding.status is Status.PASS
    assert str(lock) in after.finding.text
    assert not lock.exists()


def test_a_lock_names_itself_as_the_stop_at_5_gb(target: Target, lock: Path) -> None:
    finding = found("stops_at_5gb", target)
    assert finding.status is Status.FAIL
    assert f"step 6, the vocoder's kernel: {lock}" in finding.text
    assert "--fix" in finding.fix


@pytest.fixture
def builder(lock: Path) -> Iterator[int]:
    """A process that holds the lock open, as torch does while it builds."""
    code = f"import time; file = open({str(lock)!r}); print(flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.readline()
    yield process.pid
    process.kill()
    process.communicate()


def test_a_lock_that_a_process_holds_stays(target: Target, lock: Path, builder: int) -> None:
    finding = found("jit_lock", target)
    assert finding.status is Status.WARN
    assert f"held by process {builder}" in finding.text
    assert not finding.repairable
    assert build_state.remove_stale_locks(target) == "nothing is stale any more"
    assert lock.exists()


def test_a_young_lock_stays(target: Target, lock: Path) -> None:
    os.utime(lock)
    finding = found("jit_lock", target)
    assert finding.status is Status.WARN
    assert not finding.repairable
    build_state.remove_stale_locks(target)
    assert lock.exists()


def test_a_lock_of_another_user_stays(target: Target, lock: Path, monkeypatch) -> None:
    monkeypatch.setattr(build_state.os, "geteuid", lambda: 12345)
    assert found("jit_lock", target).status is Status.WARN
    build_state.remove_stale_locks(target)
    assert lock.exists()


@pytest.mark.parametrize(
    "place",
    ["BigVGAN/cuda/build/lock", "torch_extensions/py311_cu128/transformer_inference/lock"],
)
def test_locks_outside_the_package_are_found(target: Target, tmp_path: Path, place: str) -> None:
    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / place).touch()
    assert str(tmp_path / place) in found("jit_lock", target).text


def test_missing_build_tools_are_named(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    set_gpu(monkeypatch, 20_000)
    monkeypatch.setattr(build_state, "missing_tools", lambda: ["nvcc", "ninja"])
    finding = found("compiler", target)
    assert finding.status is Status.WARN
    assert "nvcc, ninja not found" in finding.text
    assert "use_cuda_kernel=False" in finding.fix
    kernel = folder_of(target).parent / "indextts" / KERNEL / "anti_alias_activation_cuda.so"
    kernel.touch()
    assert found("compiler", target).status is Status.PASS


def test_build_tools_are_looked_for_where_torch_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(build_state.sys, "executable", str(tmp_path / "python"))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "nvcc").touch()
    assert build_state.missing_tools() == ["ninja", "c++"]
    (tmp_path / "ninja").touch()
    (tmp_path / "c++").touch(mode=0o755)
    assert build_state.missing_tools() == []


def test_a_read_only_text_cache_is_named(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "35 s" in found("text_cache", target).text
    with monkeypatch.context() as read_only:
        read_only.setattr(build_state.os, "access", lambda path, mode: False)
        finding = found("text_cache", target)
    assert finding.status is Status.FAIL
    assert "utils is not writable" in finding.text
    cache = folder_of(target).parent / "indextts/utils/tagger_cache"
    cache.mkdir()
    for name in ("zh_tn_tagger.fst", "zh_tn_verbalizer.fst"):
        (cache / name).write_bytes(b"rules")
    monkeypatch.setattr(build_state.os, "access", lambda path, mode: False)
    assert found("text_cache", target).status is Status.PASS
    (cache / "zh_tn_tagger.fst").write_bytes(b"")
    assert "zero bytes" in found("text_cache", target).text


def test_without_the_package_its_cache_is_not_looked_at(target: Target) -> None:
    elsewhere = folder_of(target).rename(folder_of(target).parents[1] / "elsewhere")
    assert found("text_cache", Target(releases={"indextts2": elsewhere})).status is Status.SKIP
