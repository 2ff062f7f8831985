"""The doctor's checks of an IndexTTS2 folder: files, downloads, memory, the stop at 5 GB."""

import zipfile
from pathlib import Path

import pytest
from indextts2_release import (
    CHECKS,
    folder_of,
    found,
    put,
    set_gpu,
    whole_release,
)

from tritone.diagnostics.doctor.check import Status
from tritone.diagnostics.doctor.checks.gpu.driver import Driver
from tritone.diagnostics.doctor.target import Target
from tritone.errors import EnvironmentProblem
from tritone.families.indextts2 import build_state, doctor, release_folder
from tritone.families.indextts2.release_folder import AUXILIARY, RELEASED, W2V_BERT, Part

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 450575567\n"


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    return whole_release(tmp_path, monkeypatch)


def test_without_a_folder_all_skip() -> None:
    assert {check(Target()).status for check in doctor.CHECKS} == {Status.SKIP}


def test_a_folder_that_is_not_there_is_one_failure(tmp_path: Path) -> None:
    target = Target(releases={"indextts2": tmp_path / "nowhere"})
    findings = [check(target) for check in doctor.CHECKS]
    assert [f.status for f in findings] == [Status.FAIL, *[Status.SKIP] * (len(findings) - 1)]


def test_a_whole_folder_passes(target: Target) -> None:
    findings = {name: check(target) for name, check in CHECKS.items()}
    findings.pop("indextts2.host_memory")  # as much as this machine has
    wrong = {n: f.text for n, f in findings.items() if f.status in (Status.FAIL, Status.WARN)}
    assert wrong == {}
    assert "Nothing here would stop it" in findings["indextts2.stops_at_5gb"].text


def test_sizes_by_step_are_those_of_the_released_files() -> None:
    steps = [part.step for part in RELEASED]
    assert steps == sorted(steps)
    assert sum(part.size for part in RELEASED) == pytest.approx(5.9e9, rel=0.01)
    assert sum(part.size for part in AUXILIARY) == pytest.approx(2.98e9, rel=0.01)


def test_a_missing_file_is_named_with_its_step(target: Target) -> None:
    (folder_of(target) / "s2mel.pth").unlink()
    finding = found("files", target)
    assert finding.status is Status.FAIL
    assert finding.text == "missing: step 10: s2mel.pth (1.20 GB)"
    assert "hf download IndexTeam/IndexTTS-2" in finding.fix


def test_a_file_of_another_order_is_named(target: Target) -> None:
    put(folder_of(target), Part(4, "gpt.pth", 12_000_000))
    assert "step 4: gpt.pth (3.48 GB) has 12 MB" in found("files", target).text
    put(folder_of(target), Part(4, "gpt.pth", 1_742_000_000))  # saved again in float16
    assert found("files", target).status is Status.PASS


def test_what_would_be_downloaded_is_named(target: Target, monkeypatch) -> None:
    (folder_of(target) / "hf_cache/campplus_cn_common.bin").unlink()
    finding = found("downloads", target)
    assert finding.status is Status.WARN
    assert "download 28 MB: step 12: hf_cache/campplus_cn_common.bin" in finding.text
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    finding = found("downloads", target)
    assert finding.status is Status.FAIL
    assert "HF_HUB_OFFLINE forbids" in finding.text


def test_an_empty_w2v_bert_is_downloaded_with_its_whole_repository(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (folder_of(target) / W2V_BERT).iterdir():
        path.unlink()
    finding = found("downloads", target)
    assert "would download 4.65 GB" in finding.text
    assert "whole repository facebook/w2v-bert-2.0" in finding.text
    usage = type(release_folder.shutil.disk_usage(tmp_path))(10, 9, 1)
    with monkeypatch.context() as full:
        full.setattr(release_folder.shutil, "disk_usage", lambda _: usage)
        assert found("downloads", target).status is Status.FAIL
    (tmp_path / "hub/models--facebook--w2v-bert-2.0/snapshots/abc/config.json").mkdir(parents=True)
    assert "copied from a hub's cache" in found("downloads", target).text


def test_a_half_filled_w2v_bert_counts_as_downloaded_upstream(target: Target) -> None:
    (folder_of(target) / W2V_BERT / "preprocessor_config.json").unlink()
    assert found("downloads", target).status is Status.PASS
    finding = found("w2v_bert", target)
    assert finding.status is Status.FAIL
    assert "half filled: it lacks preprocessor_config.json" in finding.text
    stops = found("stops_at_5gb", target)
    assert stops.status is Status.FAIL
    assert "step 7, w2v-bert: hf_cache/w2v-bert-2.0 is half filled" in stops.text
    assert "--force-download" in stops.fix


def test_truncated_weights_of_w2v_bert_are_named(target: Target) -> None:
    weights = folder_of(target) / W2V_BERT / "model.safetensors"
    with weights.open("r+b") as file:
        file.truncate(1_000_000_000)
    assert "model.safetensors is cut short: 1000000000 bytes" in found("w2v_bert", target).text
    assert "model.safetensors is cut short" in found("truncated", target).text


def test_a_cut_torch_file_is_named(target: Target) -> None:
    path = folder_of(target) / "s2mel.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", bytes(10_000))
    assert found("truncated", target).status is Status.PASS
    path.write_bytes(path.read_bytes()[:5000])
    finding = found("truncated", target)
    assert finding.status is Status.FAIL
    assert "s2mel.pth is cut short: 5000 bytes" in finding.text


@pytest.mark.parametrize(
    "name, content, sign",
    [
        ("hf_cache/bigvgan/bigvgan_generator.pt", b"old pickle", "449228171 were released"),
        ("feat1.pt", b"", "feat1.pt has zero bytes"),
        ("hf_cache/bigvgan/config.json", b"<html>", "is no valid JSON"),
    ],
)
def test_damaged_files_are_named(target: Target, name: str, content: bytes, sign: str) -> None:
    (folder_of(target) / name).write_bytes(content)
    finding = found("truncated", target)
    assert finding.status is Status.FAIL
    assert sign in finding.text


def test_unfinished_downloads_are_named(target: Target) -> None:
    (folder_of(target) / "gpt.pth.incomplete").touch()
    finding = found("truncated", target)
    assert finding.status is Status.WARN
    assert "gpt.pth.incomplete" in finding.text


def test_an_lfs_pointer_is_named(target: Target) -> None:
    (folder_of(target) / "gpt.pth").write_bytes(POINTER)
    assert "gpt.pth" in found("lfs", target).text
    assert found("lfs", target).status is Status.FAIL
    assert found("truncated", target).status is Status.PASS


def test_memory_by_step_adds_up_to_the_measured_sums() -> None:
    single = {s.number: mib for s, mib in doctor.needed(half=False)}
    half = {s.number: mib for s, mib in doctor.needed(half=True)}
    assert single == {3: 1137, 4: 4595, 7: 6809, 9: 6978, 10: 7441, 12: 7467, 13: 7895}
    assert half[13] == 7895 - 1652


@pytest.mark.parametrize(
    "free, status, sign",
    [
        (20_000, Status.PASS, "13: 7895 (fp16 6243)"),
        (7_500, Status.WARN, "step 13, BigVGAN, does not fit, in half precision all do"),
        (5_500, Status.WARN, "step 7, w2v-bert, does not fit"),
        (2_000, Status.FAIL, "step 4, GPT, does not fit, nor does everything"),
    ],
)
def test_the_first_step_that_does_not_fit_is_named(
    target: Target, monkeypatch: pytest.MonkeyPatch, free: int, status: Status, sign: str
) -> None:
    set_gpu(monkeypatch, free)
    finding = found("gpu_memory", target)
    assert finding.status is status
    assert sign in finding.text


def test_a_driver_that_does_not_answer_is_left_to_its_own_check(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(**_: object) -> Driver:
        raise EnvironmentProblem("the driver does not answer within 8 s")

    set_gpu(monkeypatch, 20_000)
    monkeypatch.setattr(doctor, "ask_driver", silent)
    assert "see gpu.driver" in found("gpu_memory", target).text


@pytest.mark.parametrize("free, status", [(5 << 30, Status.WARN), (20 << 30, Status.PASS)])
def test_main_memory_is_compared_with_the_peak(
    target: Target, monkeypatch: pytest.MonkeyPatch, free: int, status: Status
) -> None:
    monkeypatch.setattr(doctor, "available_memory", lambda: (free, "free"))
    assert found("host_memory", target).status is status


def test_too_little_gpu_memory_is_told_from_a_stop(target: Target, monkeypatch) -> None:
    set_gpu(monkeypatch, 5_500)
    monkeypatch.setattr(build_state, "missing_tools", list)
    finding = found("stops_at_5gb", target)
    assert finding.status is Status.WARN
    assert "step 7 (w2v-bert) does not fit" in finding.text


def test_a_slow_disk_is_told_from_a_stop(target: Target, monkeypatch) -> None:
    monkeypatch.setattr(doctor, "read_speed", lambda _: 20e6)
    finding = found("stops_at_5gb", target)
    assert finding.status is Status.WARN
    assert "2.32 GB at the 20 MB/s of this disk take 116 s" in finding.text


def test_deepspeed_is_named_where_it_is_installed(target: Target, monkeypatch) -> None:
    monkeypatch.setattr(doctor, "find_spec", lambda name: object())
    finding = found("stops_at_5gb", target)
    assert finding.status is Status.WARN
    assert "step 5, DeepSpeed: installed" in finding.text
    assert "use_deepspeed=False" in finding.fix


def test_reading_is_measured(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(64 << 20)
    assert 1e6 < doctor.read_speed(path) < 1e12
