"""The doctor's view of a GPU, through a made-up driver library and a made-up nvidia-smi."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from native_fakes import Program, compile_library, programs
from out_of_time import HANG_SH, by_marks

from tritone.diagnostics.doctor.catalogue import GENERAL, chosen
from tritone.diagnostics.doctor.check import Status
from tritone.diagnostics.doctor.checks.gpu import device, driver
from tritone.diagnostics.doctor.examine import examine
from tritone.diagnostics.doctor.target import Target

pytestmark = pytest.mark.slow

CHECKS = chosen(GENERAL, ["gpu"])

CPU, GPU, TORCH = (Target(profile=profile) for profile in ("cpu", "gpu", "gpu-torch"))
GIB = 2**30

# The calls of the CUDA Driver API that the doctor makes, with the answers of one machine.
DRIVER = """
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static void hang(void) {{
    char mark[4096];
    snprintf(mark, sizeof mark, "%s/%d", getenv("HANG_MARKS"), (int) getpid());
    close(creat(mark, 0600));
    pause(); }}
int cuInit(unsigned flags) {{ if ({hangs}) hang(); return {init}; }}
int cuGetErrorName(int error, const char **name) {{ *name = "CUDA_ERROR_NO_DEVICE"; return 0; }}
int cuDriverGetVersion(int *version) {{ *version = {cuda}; return 0; }}
int cuDeviceGetCount(int *count) {{ *count = 1; return 0; }}
int cuDeviceGet(int *device, int index) {{ *device = index; return 0; }}
int cuDeviceGetName(char *name, int size, int device) {{
    strncpy(name, "NVIDIA L4", size); return 0; }}
int cuDeviceGetAttribute(int *value, int which, int device) {{
    *value = which == 75 ? {major} : which == 76 ? 9 : which == 133 ? {mps} : -1;
    return which == 133 && {mps} < 0; }}
int cuDevicePrimaryCtxRetain(void **context, int device) {{ *context = 0; return {retain}; }}
int cuCtxSetCurrent(void *context) {{ return 0; }}
int cuMemGetInfo_v2(size_t *free, size_t *total) {{
    *free = {free}ul; *total = 24ul << 30; return 0; }}
"""
ANSWERS = {
    "hangs": 0,
    "init": 0,
    "cuda": 12080,
    "major": 8,
    "retain": 0,
    "mps": 1,
    "free": 20 * GIB,
}

Machine = Callable[..., None]


@pytest.fixture(autouse=True)
def _time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_marks(monkeypatch, tmp_path / "marks")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine whose driver answers as ANSWERS, changed."""
    node = tmp_path / "nvidiactl"
    node.touch()
    for module in (device, driver):
        monkeypatch.setattr(module, "DRIVER_FILES", (node,))
    for name in ("TRITONE_DEVICE", "CUDA_VISIBLE_DEVICES", "CUDA_MPS_PIPE_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(device, "_PIPES", str(tmp_path / "nvidia-mps"))
    monkeypatch.setattr(device, "torch_cuda", lambda: "12.8")

    def have(**changes: int) -> None:
        library = tmp_path / "driver" / driver.LIBRARY
        compile_library(library, DRIVER.format(**{**ANSWERS, **changes}))
        monkeypatch.setenv("LD_LIBRARY_PATH", str(library.parent))

    return have


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    return programs(tmp_path, monkeypatch)


class TestNone:
    @pytest.fixture(autouse=True)
    def _no_driver(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in (device, driver):
            monkeypatch.setattr(module, "DRIVER_FILES", (tmp_path / "nvidiactl",))

    def test_a_cpu_needs_none(self) -> None:
        for check in CHECKS:
            finding = check(CPU)
            assert finding.status is Status.SKIP
            assert "profile cpu" in finding.text

    def test_a_gpu_profile_fails_once(self) -> None:
        findings = [check(GPU) for check in CHECKS]
        assert [f.status for f in findings] == [Status.FAIL, *[Status.SKIP] * 4]
        assert "no NVIDIA driver" in findings[0].text
        assert "docker run --gpus all" in findings[0].fix


class TestDriver:
    def test_it_answers(self, machine: Machine, program: Program) -> None:
        machine()
        program("nvidia-smi", "echo 570.124.06")
        finding = device.driver(GPU)
        assert finding.status is Status.PASS
        assert finding.text == (
            "driver 570.124.06 runs CUDA 12.8: NVIDIA L4; torch is built for CUDA 12.8"
        )
        assert device.driver(CPU).text == "driver 570.124.06 runs CUDA 12.8: NVIDIA L4"

    def test_it_is_too_old_for_torch(self, machine: Machine, monkeypatch, program) -> None:
        machine(cuda=12040)
        program("nvidia-smi", "echo 550.54.15")
        monkeypatch.setattr(device, "torch_cuda", lambda: "13.0")
        finding = device.driver(TORCH)
        assert finding.status is Status.FAIL
        assert "torch is built for CUDA 13.0, which this driver does not run" in finding.text
        assert "cu124" in finding.fix
        monkeypatch.setattr(device, "torch_cuda", lambda: "12.9")
        assert device.driver(TORCH).status is Status.PASS, "minor versions are compatible"

    def test_its_own_error(self, machine: Machine) -> None:
        machine(init=100)
        finding = device.driver(GPU)
        assert finding.status is Status.FAIL
        assert "cuInit: CUDA_ERROR_NO_DEVICE (100)" in finding.text
        assert device.driver(CPU).status is Status.WARN
        assert device.capability(GPU).status is Status.SKIP, "said once"

    def test_a_driver_that_hangs(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        machine(hangs=1)
        monkeypatch.setattr(driver, "_LIMIT_S", 0.5)
        finding = device.driver(GPU)
        assert finding.status is Status.FAIL
        assert "the driver does not answer within 0.5 s" in finding.text

    def test_no_library_at_all(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(driver, "LIBRARY", "libnocuda.so.1")
        assert "libnocuda.so.1: cannot open shared object file" in device.driver(GPU).text

    def test_a_device_that_is_not_there(self, machine: Machine, monkeypatch) -> None:
        machine()
        monkeypatch.setenv("TRITONE_DEVICE", "cuda:3")
        assert "device cuda:3 is wanted and CUDA sees 1 GPUs" in device.driver(GPU).text

    @pytest.mark.parametrize(
        "body, why", [("exit 9", "fails"), ("", "")], ids=["broken", "not there"]
    )
    def test_nvidia_smi_is_needed_for_engines(self, machine, program, monkeypatch, body, why):
        machine()
        if body:
            program("nvidia-smi", f"echo Driver/library version mismatch; {body}")
        else:
            monkeypatch.setenv("PATH", "/nowhere")
        finding = device.driver(GPU)
        assert finding.status is Status.WARN
        assert f"nvidia-smi {why or 'is not on PATH'}" in finding.text
        assert "NVIDIA_DRIVER_CAPABILITIES=compute,utility" in finding.fix
        assert device.driver(TORCH).status is Status.PASS


class TestCapability:
    def test_bfloat16(self, machine: Machine) -> None:
        machine()
        assert device.capability(GPU).text == (
            "NVIDIA L4: compute capability 8.9, at least 8.0: bfloat16"
        )

    def test_too_old(self, machine: Machine) -> None:
        machine(major=7)
        finding = device.capability(TORCH)
        assert finding.status is Status.FAIL
        assert "has compute capability 7.9; bfloat16" in finding.text


class TestMemory:
    @pytest.fixture
    def target(self, tmp_path: Path) -> Target:
        """4 GiB of weights, as holes."""
        model = tmp_path / "model"
        (model / "llm").mkdir(parents=True)
        for name, size in (("flow", 2), ("vocoder", 1), ("llm/model", 1)):
            with (model / f"{name}.safetensors").open("wb") as file:
                file.truncate(size * GIB)
        return replace(GPU, model_dir=model)

    @pytest.mark.parametrize(
        "free, status", [(20, Status.PASS), (6, Status.WARN), (4, Status.FAIL)]
    )
    def test_free_against_needed(self, machine: Machine, target, free, status) -> None:
        machine(free=free * GIB)
        finding = device.memory(target)
        assert finding.status is status
        assert finding.text.startswith(
            f"NVIDIA L4: {free}.0 GiB of 24.0 GiB free; 3 processes with 4.0 GiB of weights take "
            "5.0 GiB, and streams about 2.0 GiB"
        )

    def test_no_context(self, machine: Machine, target: Target) -> None:
        machine(retain=2)
        finding = device.memory(target)
        assert finding.status is Status.FAIL
        assert "cuDevicePrimaryCtxRetain" in finding.text


class TestMps:
    def test_not_in_use(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        machine(mps=0)
        finding = device.mps(GPU)
        assert finding.status is Status.WARN
        assert "take turns on the GPU" in finding.text
        assert finding.fix == "before the server starts: nvidia-cuda-mps-control -d"
        monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", "/nonexistent/mps")
        finding = device.mps(GPU)
        assert finding.status is Status.WARN
        assert "/nonexistent/mps does not exist" in finding.text

    @pytest.mark.parametrize(
        "body, status",
        [
            ("read command; echo 4242", Status.PASS),
            ("echo Cannot find MPS control daemon process", Status.FAIL),
            (HANG_SH, Status.FAIL),
        ],
        ids=["runs", "gone", "hangs"],
    )
    def test_the_daemon(self, machine, program, monkeypatch, tmp_path, body, status) -> None:
        machine()
        (tmp_path / "nvidia-mps").mkdir()
        program("nvidia-cuda-mps-control", body)
        monkeypatch.setattr(device, "_CONTROL_S", 0.5)
        monkeypatch.setenv("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", "40")
        finding = device.mps(GPU)
        assert finding.status is status
        assert ("40 %" in finding.text) == (status is Status.PASS)
        assert ("rm -r" in finding.fix) == (status is Status.FAIL)

    @pytest.mark.parametrize(
        ("mps", "status", "words"),
        [
            (1, Status.PASS, "processes use the GPU through MPS"),
            (0, Status.WARN, "do not use the GPU through MPS"),
            (-1, Status.PASS, "too old to say"),
        ],
        ids=["attached", "not attached", "unknown"],
    )
    def test_it_is_attached(self, machine, monkeypatch, tmp_path, mps, status, words) -> None:
        machine(mps=mps)
        monkeypatch.setenv("PATH", "/nowhere")
        (tmp_path / "nvidia-mps").mkdir()
        finding = device.mps(GPU)
        assert (finding.status, words in finding.text) == (status, True)

    def test_cuda_does_not_start(self, machine, monkeypatch, tmp_path) -> None:
        machine(init=805)
        monkeypatch.setenv("PATH", "/nowhere")
        (tmp_path / "nvidia-mps").mkdir()
        finding = device.mps(GPU)
        assert finding.status is Status.FAIL
        assert "CUDA does not start with the pipes in" in finding.text

    def test_pipes_of_another_user(self, machine, monkeypatch, tmp_path) -> None:
        (tmp_path / "nvidia-mps").mkdir()
        monkeypatch.setattr(device.os, "access", lambda *a: False)
        assert f"belongs to user {os.getuid()}" in device.mps(GPU).text


def test_a_process_of_the_doctor_runs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for diagnosis in examine(CHECKS, CPU):
        assert diagnosis.finding.status is not Status.FAIL
