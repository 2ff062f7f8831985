"""Steps of loading: what is reported, when a step is late, and what a log says of them."""

import re
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from paths import EMBEDDED
from waiting import Clock

import tritone
from tritone.cli.doctor import known_checks
from tritone.diagnostics.doctor.catalogue import chosen
from tritone.errors import ModelDirectoryError
from tritone.loading import steps as steps_module
from tritone.loading.catalogue import STEPS, doctor_command, steps_of
from tritone.loading.reports import Summary, line, states
from tritone.loading.steps import (
    Loader,
    Memory,
    Report,
    bytes_below,
    memory_now,
    note,
    shortage,
    step,
)


class TestSteps:
    def test_each_is_reported_before_and_after(self, tmp_path):
        path, reports, clock = tmp_path / "flow.safetensors", [], Clock()
        path.write_bytes(bytes(1000))
        with Loader("token2wav", reports.append, clock=clock):
            with step("flow weights", path):
                clock.move(0.5)
            with step("start noise"):
                pass
        assert [(r.step, r.kind) for r in reports] == [
            ("flow weights", "begins"),
            ("flow weights", "done"),
            ("start noise", "begins"),
            ("start noise", "done"),
        ]
        begins, done = reports[:2]
        assert begins.model == "token2wav" and begins.path == path and begins.nbytes == 1000
        assert (begins.seconds, done.seconds) == (0.0, 0.5) and done.memory.resident > 2**20
        assert reports[2].path is None and reports[2].nbytes == 0

    def test_without_a_loader_there_is_nothing_but_the_work(self):
        with Loader("other", pytest.fail):
            pass
        with step("config", Path("/nowhere")):
            pass
        with pytest.raises(AssertionError, match="tea is not in the catalogue"), step("tea"):
            pass

    def test_an_error_is_reported_and_goes_on(self):
        reports, ours = [], ModelDirectoryError("flow.safetensors lacks bias; convert again")
        for error in (ours, RuntimeError("CUDA out of memory\nmore")):
            loader = Loader("token2wav", reports.append, model_dir=Path("/m"))
            with pytest.raises(type(error)) as caught, loader, step("flow placement"):
                raise error
            assert caught.value is error
        assert reports[1].error == f"ModelDirectoryError: {ours}" and not reports[1].cause
        assert reports[1].doctor == "tritone doctor --only gpu --model /m"
        assert reports[3].error == "RuntimeError: CUDA out of memory"
        assert "GPU" in reports[3].cause

    def test_one_may_be_a_part_of_another(self):
        reports = []
        loader = Loader("vocoder", reports.append)
        deeper = pytest.raises(AssertionError, match="nested too deep")
        with loader, step("vocoder placement"), step("vocoder plan"), deeper, step("config"):
            pass
        assert [(r.step, r.inside, r.kind) for r in reports] == [
            ("vocoder placement", "", "begins"),
            ("vocoder plan", "vocoder placement", "begins"),
            ("vocoder plan", "vocoder placement", "done"),
            ("vocoder placement", "", "done"),
        ]

    def test_sizes(self, tmp_path):
        (tmp_path / "int8.onnx").write_bytes(bytes(10))
        (tmp_path / "int8.onnx.data").write_bytes(bytes(500))
        assert bytes_below(tmp_path / "int8.onnx") == 510
        assert bytes_below(tmp_path) == 510
        assert bytes_below(tmp_path / "absent") == 0

    def test_a_model_directory_loads_in_the_steps_of_the_catalogue(self):
        reports = []
        tritone.load(EMBEDDED, report=reports.append).close()
        done = [r.step for r in reports if r.kind == "done"]
        order = [kind.name for kind in steps_of("cpu")]
        assert done == sorted(done, key=order.index) and len(set(done)) == len(done)
        needed = {kind.name for kind in steps_of("cpu") if not kind.optional}
        later = {"imports", "LLM imports", "speak"} | {n for n in needed if "warm-up" in n}
        assert needed - later <= set(done)
        sizes = {r.step: r.nbytes for r in reports}
        assert sizes["flow weights"] == (EMBEDDED / "flow.safetensors").stat().st_size


class TestCatalogue:
    def test_a_limit_grows_with_the_file(self):
        kind = STEPS["flow weights"]
        assert kind.limit(0) == kind.seconds
        assert kind.limit(2_000_000_000) == kind.seconds + 100

    def test_the_doctor_knows_every_check(self):
        for kind in STEPS.values():
            assert chosen(known_checks(), kind.check.split()), kind.name

    def test_steps_of_profiles(self):
        cpu, gpu = ({kind.name for kind in steps_of(p)} for p in ("cpu", "gpu"))
        assert "LLM session" in cpu - gpu and "TensorRT-LLM import" in gpu - cpu
        assert doctor_command("mpi") == "tritone doctor --only mpi"
        assert doctor_command("gpu", profile="gpu").endswith("--only gpu --profile gpu")


class TestLines:
    def test_a_log_says_where_each_model_is(self, tmp_path):
        lines: list[str] = []
        reports = lambda report: lines.append(f'I1122 4 model.py:5] "{line(report)}"')  # noqa: E731
        with Loader("vocoder", reports), step("config"):
            assert states(lines)["vocoder"].step == "config"
        assert not states(lines)
        with pytest.raises(OSError), Loader("frontend", reports), step("text tokenizer", tmp_path):
            raise OSError("gone")
        with Loader("token2wav", reports), step("flow placement"):
            before = time.time()
            with step("flow cache"):
                inner = states(lines)["token2wav"]
            outer = states(["noise", *lines])["token2wav"]
        assert (inner.step, inner.limit_s, outer.step) == ("flow cache", 30, "flow placement")
        rounding = 0.001
        assert before - rounding <= inner.since <= time.time() and not inner.failed
        failed = states(lines)["frontend"]
        assert failed.step == "text tokenizer" and failed.failed
        assert "token2wav" not in states(lines)

    def test_the_inner_of_two_failed_steps_is_kept(self):
        lines: list[str] = []
        with (
            pytest.raises(OSError),
            Loader("token2wav", lambda report: lines.append(line(report))),
            step("flow placement"),
            step("flow plan"),
        ):
            raise OSError("gone")
        state = states(lines)["token2wav"]
        assert state.step == "flow plan" and state.failed

    def test_a_step_says_something_of_its_result(self):
        lines = []
        with Loader("tensorrt_llm", lambda report: lines.append(line(report))):
            with step("flow weights"):
                note("11 of 64 slots")
            with step("flow placement"):
                pass
        note("of no step")
        told = [line for line in lines if " done in " in line]
        assert re.search(r" s \(11 of 64 slots, resident \d+ MiB", told[0])
        assert re.search(r" s \(resident \d+ MiB", told[1])
        assert not states(lines)

    def test_what_a_line_says(self, tmp_path):
        report = Report(
            kind="begins",
            model="token2wav",
            step="flow weights",
            inside="",
            path=Path("/m/flow.safetensors"),
            nbytes=449_600_000,
            seconds=0.0,
            limit_s=52.4,
            memory=Memory(180 << 20, 1210 << 20),
        )
        text = line(report)
        assert re.fullmatch(
            r"load token2wav, flow weights: begins at \S+ \(/m/flow\.safetensors, 449\.6 MB, "
            r"resident 180 MiB, GPU 1210 MiB, late after 52 s\)",
            text,
        )


class TestMemory:
    def test_resident_memory_is_the_kernels(self):
        ours, kernels = memory_now(), psutil.Process().memory_info().rss
        assert abs(ours.resident - kernels) < 0.1 * kernels

    def test_the_gpu_is_asked_only_when_it_is_in_use(self, monkeypatch):
        cuda = SimpleNamespace(is_initialized=lambda: False)
        monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
        assert memory_now().gpu is None
        cuda.is_initialized = lambda: True
        cuda.device_count, cuda.current_device = (lambda: 2), (lambda: 0)
        cuda.memory_reserved = lambda index: [0, 5][index]  # the models are on the second
        cuda.mem_get_info = lambda index: ([90, 70][index], 100)
        assert memory_now().gpu == 30
        cuda.memory_reserved = lambda index: 0
        assert memory_now().gpu == 10
        assert memory_now(ask_gpu=False).gpu is None

        def broken(index: int) -> None:
            raise RuntimeError("an illegal memory access was encountered")

        cuda.mem_get_info = broken
        assert memory_now().gpu is None
        monkeypatch.delitem(sys.modules, "torch")
        assert memory_now().gpu is None

    def test_a_shortage_is_the_likely_cause(self, tmp_path, monkeypatch):
        (tmp_path / "meminfo").write_text("MemTotal: 8388608 kB\nMemAvailable: 204800 kB\n")
        assert shortage() == ""
        monkeypatch.setattr(steps_module, "_PROC", tmp_path)
        assert shortage() == "only 200 of 8192 MiB of memory are available"


def test_a_summary_has_a_row_for_each_step(tmp_path):
    (tmp_path / "flow.safetensors").write_bytes(bytes(2_100_000))
    summary = Summary(tmp_path)
    error = ModelDirectoryError("it is damaged; convert again")
    with pytest.raises(ModelDirectoryError) as caught, Loader("local", summary.add):
        with step("flow weights", tmp_path / "flow.safetensors"):
            pass
        with step("flow placement"), step("flow plan"):
            raise error
    summary.end(caught.value)
    head, weights, plan, placement, total = summary.table().splitlines()
    assert head.split() == ["step", "file", "MB", "seconds", "resident", "MiB", "GPU", "MiB"]
    assert weights.split()[:4] == ["flow", "weights", "flow.safetensors", "2.1"]
    assert plan.startswith("  flow plan (failed)") and placement.startswith("flow placement (fai")
    assert total.startswith("total")
    assert summary.problem == (
        "the step flow plan failed: ModelDirectoryError: it is damaged; convert again; examine: "
        "tritone doctor --only tensorrt"
    )
    assert summary.plain()["failed"] == "flow plan"
