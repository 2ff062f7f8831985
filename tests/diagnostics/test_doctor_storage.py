"""The doctor's checks of disks and shared memory."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest
from machine_target import MIB, check, target_in
from paths import PROJECT

from tritone import cli
from tritone.diagnostics.doctor.check import Status
from tritone.diagnostics.doctor.checks.machine import storage
from tritone.diagnostics.doctor.examine import examine
from tritone.diagnostics.doctor.target import Target

pytestmark = pytest.mark.slow

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return target_in(tmp_path)


class TestDisk:
    def test_there_is_room(self, target: Target):
        found = storage.disk(target)
        assert found.status is not Status.FAIL
        assert str(target.cache_dir) in found.text

    def test_a_folder_that_is_not_there_yet_is_on_its_parents_disk(self, target: Target):
        later = replace(target, cache_dir=target.cache_dir / "not" / "yet")
        assert storage.disk(later).text.startswith(f"cache {later.cache_dir}: ")

    @pytest.mark.parametrize("free, status", [(10, Status.FAIL), (500, Status.WARN)])
    def test_full(self, target: Target, monkeypatch, free, status):
        real = os.statvfs

        def statvfs(path):
            found = real(path)
            values = list(found)
            values[4] = free * MIB // found.f_frsize
            return os.statvfs_result(values) if path == target.cache_dir else found

        monkeypatch.setattr(os, "statvfs", statvfs)
        found = storage.disk(target)
        assert found.status is status
        assert f"du -xh --max-depth=2 {target.cache_dir}" in found.fix

    def test_the_first_start_writes_the_graph(self, target: Target):
        (target.model_dir / "llm" / "onnx").mkdir(parents=True)
        (target.model_dir / "llm" / "model.safetensors").write_bytes(bytes(1000))
        assert storage.graph_to_build(target) == 600
        (target.model_dir / "llm" / "onnx" / "int8.onnx").touch()
        assert storage.graph_to_build(target) == 0


class TestSharedMemory:
    @pytest.mark.parametrize(
        "free, status, words",
        [
            (1024, Status.PASS, "1024 of 2048 MiB free, writable"),
            (64, Status.WARN, "as Docker gives"),
            (8, Status.FAIL, "need 16 MiB to start"),
        ],
    )
    def test_its_size_decides(self, target: Target, monkeypatch, free, status, words):
        usage = Usage(2048 * MIB, 0, free * MIB)
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
        found = storage.shm(target)
        assert found.status is status
        assert words in found.text
        assert status is Status.PASS or "--shm-size=1g" in found.fix
        assert not list(target.shm_dir.iterdir())

    def test_no_folder(self, target: Target):
        found = storage.shm(replace(target, shm_dir=target.shm_dir / "none"))
        assert found.status is Status.FAIL
        assert "does not exist" in found.text

    def test_a_file_system_that_takes_no_files(self, target: Target):
        found = storage.shm(replace(target, shm_dir=Path("/proc")))
        assert found.status is Status.FAIL
        assert "no file can be made" in found.text

    @pytest.mark.parametrize(
        "options, status", [("size=8m", "fail"), ("size=64m", "warn"), ("size=96m,ro", "fail")]
    )
    def test_a_real_one_that_is_too_small(self, tmp_path: Path, options, status):
        """In a mount namespace, as a container would have it."""
        unshare = ["unshare", "--user", "--map-root-user", "--mount"]
        if shutil.which("unshare") is None or subprocess.run([*unshare, "true"]).returncode:
            pytest.skip("no mount namespace for this user")
        doctor = (
            f"{sys.executable} -m tritone doctor --only machine.shm --json --shm-dir {tmp_path}"
        )
        script = f"mount -t tmpfs -o {options} tmpfs {tmp_path} && {doctor}"
        done = subprocess.run(
            [*unshare, "sh", "-c", script], cwd=PROJECT, capture_output=True, text=True
        )
        assert done.stdout, done.stderr
        (line,) = json.loads(done.stdout)["checks"]
        assert line["status"] == status, line
        assert str(tmp_path) in line["text"]


class TestVoices:
    def test_a_folder_that_can_be_written_or_made(self, target: Target, tmp_path: Path):
        for folder, words in ((tmp_path, ""), (tmp_path / "a" / "b", ", which is not there yet")):
            found = storage.voices(replace(target, voices_dir=folder))
            assert found.status is Status.PASS
            assert found.text == f"added voices are in {folder}{words}; this user can add some"
        assert not list(tmp_path.glob(".tritone*"))

    def test_one_that_cannot(self, target: Target):
        found = storage.voices(replace(target, voices_dir=Path("/proc/voices")))
        assert found.status is Status.WARN
        assert "no file can be made in /proc" in found.text and "--voices" in found.fix

    def test_one_that_is_mounted_to_be_read(self, target: Target, tmp_path: Path, monkeypatch):
        values = list(os.statvfs(tmp_path))
        values[8] |= os.ST_RDONLY
        monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(values))
        found = storage.voices(replace(target, voices_dir=tmp_path))
        assert found.status is Status.PASS and "added elsewhere" in found.text

    def test_the_option_and_the_variable_name_it(self, tmp_path: Path, monkeypatch, capsys):
        monkeypatch.setenv("TRITONE_VOICES", str(tmp_path / "one"))
        assert cli.main(["doctor", "--only", "machine.voices"]) == 0
        assert str(tmp_path / "one") in capsys.readouterr().out
        options = ["--voices", str(tmp_path / "two"), "--json"]
        assert cli.main(["doctor", "--only", "machine.voices", *options]) == 0
        assert str(tmp_path / "two") in capsys.readouterr().out


class TestRegions:
    LOCK = "tritone_0123abcd_lock"

    def test_remains_are_found_and_removed(self, target: Target):
        (target.shm_dir / self.LOCK).touch()
        (target.shm_dir / "tritone_0123abcd_region").write_bytes(bytes(2 * MIB))
        (target.shm_dir / "somebody_elses").touch()
        (before,) = examine([check("regions")], target)
        assert before.finding.status is Status.WARN
        assert "2.0 MiB in regions of servers that are gone: tritone_0123abcd_*" in (
            before.finding.text
        )
        (after,) = examine([check("regions")], target, fix=True)
        assert after.finding.status is Status.PASS
        assert "repaired: removed tritone_0123abcd_*" in after.finding.text
        assert [path.name for path in target.shm_dir.iterdir()] == ["somebody_elses"]

    def test_those_of_a_server_that_lives_stay(self, target: Target):
        with (target.shm_dir / self.LOCK).open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            assert storage.regions(target).status is Status.PASS
            assert storage.remove_regions(target) == "removed nothing"
            assert (target.shm_dir / self.LOCK).exists()
