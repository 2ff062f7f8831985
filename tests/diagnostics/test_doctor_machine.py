"""The doctor's checks of the machine, each against a fault planted for it."""

import resource
from dataclasses import replace
from pathlib import Path

import pytest
from machine_target import GIB, MIB, check, target_in

from tritone.diagnostics.doctor.catalogue import GENERAL, chosen
from tritone.diagnostics.doctor.check import Status
from tritone.diagnostics.doctor.checks.machine import capacity, limits
from tritone.diagnostics.doctor.checks.machine.control_groups import ControlGroups
from tritone.diagnostics.doctor.examine import examine
from tritone.diagnostics.doctor.target import Target
from tritone.families.doctor import memory

CHECKS = chosen(GENERAL, ["machine"])


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return target_in(tmp_path)


class TestProcessor:
    @pytest.mark.parametrize(
        "flags, status, words",
        [
            ("fma avx2 amx_bf16 amx_int8", Status.PASS, "amx_bf16 (a full-size flow runs"),
            ("fma avx2 avx512_bf16 avx512_vnni", Status.PASS, "int8 with avx512_vnni"),
            ("fma avx2", Status.PASS, "flow in float32, int8 with avx2"),
            ("sse4_2 avx", Status.WARN, "no AVX2"),
        ],
    )
    def test_instructions(self, flags, status, words):
        found = capacity.instructions("x86_64", f"model name\t: Toy\nflags\t\t: fpu {flags}\n")
        assert found.status is status
        assert words in found.text
        assert found.text.startswith("Toy")

    def test_another_kind_of_processor_is_not_judged(self):
        assert capacity.instructions("aarch64", "").status is Status.PASS

    @pytest.mark.parametrize(
        "allowed, quota, threads, status, words",
        [
            (4, None, None, Status.PASS, "the launcher sets 1"),
            (4, 2.5, "2", Status.PASS, "limited to 2.5"),
            (64, 1.0, None, Status.WARN, "share one core"),
            (8, 0.5, None, Status.WARN, "less than one core"),
            (2, None, "16", Status.WARN, "that many threads"),
            (2, None, "many", Status.WARN, "no number of threads"),
        ],
    )
    def test_cores(self, allowed, quota, threads, status, words):
        found = capacity.processors(allowed, quota, threads)
        assert found.status is status
        assert words in found.text


class TestMemory:
    @pytest.mark.parametrize(
        "weights, free, status",
        [
            (18 * MIB, 2 * GIB, Status.PASS),
            (18 * MIB, 1 * GIB, Status.WARN),
            (18 * MIB, GIB // 2, Status.FAIL),
            (950 * 10**6, 4 * GIB, Status.PASS),
            (950 * 10**6, 2 * GIB, Status.WARN),
            (950 * 10**6, 1 * GIB, Status.FAIL),
        ],
    )
    def test_measured_sizes_decide(self, weights, free, status):
        assert capacity.memory_for(weights, free, "so much free").status is status

    def test_full_size_comes_out_as_measured(self):
        text = capacity.memory_for(950 * 10**6, 8 * GIB, "8 GiB free").text
        assert "about 3.3 GiB needed" in text  # 3.4 measured

    def test_only_what_a_server_reads_counts(self, target: Target):
        files = {
            "flow.safetensors": 3,
            "vocoder.safetensors": 5,
            "speech_tokenizer.onnx": 7,
            "llm/model.safetensors": 100,
            "llm/onnx/int8.onnx.data": 40,
            "llm/onnx/fp32.onnx.data": 400,
        }
        for name, size in files.items():
            path = target.model_dir / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bytes(size))
        assert capacity.weight_bytes(target) == 3 + 5 + 7 + 40
        assert capacity.weight_bytes(replace(target, profile="gpu")) == 3 + 5 + 7 + 100

    def test_without_a_model_the_need_is_not_known(self, target: Target):
        found = memory(replace(target, model_dir=target.model_dir / "none"))
        assert found.status is Status.SKIP
        assert "GiB free" in found.text


class TestControlGroups:
    def write(self, root: Path, files: dict[str, str]) -> ControlGroups:
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return ControlGroups(root)

    def test_version_2_with_a_limit_on_a_group_around(self, tmp_path: Path):
        groups = self.write(
            tmp_path,
            {
                "proc/self/cgroup": "0::/pod/one\n",
                "proc/self/mountinfo": "30 23 0:26 / /cg rw - cgroup2 cgroup2 rw\n",
                "cg/pod/one/memory.max": "max\n",
                "cg/pod/one/cpu.max": "max 100000\n",
                "cg/pod/one/pids.max": "500\n",
                "cg/pod/one/pids.current": "20\n",
                "cg/pod/memory.max": f"{4 * GIB}\n",
                "cg/pod/memory.current": f"{3 * GIB}\n",
                "cg/pod/memory.stat": f"anon 1\ninactive_file {GIB}\n",
                "cg/pod/cpu.max": "150000 100000\n",
            },
        )
        assert groups.memory_room() == 2 * GIB  # the cache gives way
        assert groups.processors() == 1.5
        assert groups.task_room() == 480

    def test_version_1_as_a_container_sees_it(self, tmp_path: Path):
        groups = self.write(
            tmp_path,
            {
                "proc/self/cgroup": "5:cpu,cpuacct:/docker/a\n4:memory:/docker/a\n0::/\n",
                "proc/self/mountinfo": (
                    "31 23 0:28 /docker/a /cg/cpu ro - cgroup cgroup rw,cpu,cpuacct\n"
                    "32 23 0:29 /docker/a /cg/memory ro - cgroup cgroup rw,memory\n"
                ),
                "cg/cpu/cpu.cfs_quota_us": "200000\n",
                "cg/cpu/cpu.cfs_period_us": "100000\n",
                "cg/memory/memory.limit_in_bytes": f"{2 * GIB}\n",
                "cg/memory/memory.usage_in_bytes": f"{GIB}\n",
            },
        )
        assert groups.processors() == 2.0
        assert groups.memory_room() == GIB
        assert groups.task_room() is None

    def test_no_limits(self, tmp_path: Path):
        groups = self.write(
            tmp_path,
            {
                "proc/self/cgroup": "4:memory:/\n",
                "proc/self/mountinfo": "32 23 0:29 / /cg rw - cgroup cgroup rw,memory\n",
                "cg/memory.limit_in_bytes": "9223372036854771712\n",
                "cg/memory.usage_in_bytes": "1\n",
            },
        )
        assert groups.memory_room() is None
        assert groups.processors() is None
        assert self.write(tmp_path / "none", {}).memory_room() is None

    def test_those_of_this_machine_can_be_read(self):
        room = ControlGroups().memory_room()
        assert room is None or room > 0


class TestLimits:
    @pytest.fixture
    def limited(self, monkeypatch):
        def limit(**changes: int):
            kinds = {getattr(resource, name): value for name, value in changes.items()}
            wide = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            monkeypatch.setattr(
                resource,
                "getrlimit",
                lambda kind: (kinds[kind], kinds[kind]) if kind in kinds else wide,
            )

        return limit

    @pytest.mark.parametrize("files, status", [(100, Status.FAIL), (1000, Status.WARN)])
    def test_few_open_files(self, target: Target, limited, files, status):
        limited(RLIMIT_NOFILE=files)
        found = limits.limits(target)
        assert found.status is status
        assert str(files) in found.text
        assert "nofile=65536" in found.fix

    def test_few_tasks_left_in_the_group(self, target: Target, limited, monkeypatch):
        limited()
        monkeypatch.setattr(ControlGroups, "task_room", lambda self: 100)
        found = limits.limits(target)
        assert found.status is Status.WARN
        assert "100 left in the control group" in found.text

    def test_limited_address_space(self, target: Target, limited):
        limited(RLIMIT_AS=4 * GIB)
        assert limits.limits(target).fix == "ulimit -v unlimited"

    def test_no_limits(self, target: Target, limited, monkeypatch):
        limited()
        monkeypatch.setattr(ControlGroups, "task_room", lambda self: None)
        assert limits.limits(target).status is Status.PASS


@pytest.mark.parametrize(
    "locale, status, words",
    [("C.UTF-8", "pass", "UTF-8"), ("xx_XX.nonsense", "warn", "not installed here")],
)
def test_text_encoding(target: Target, monkeypatch, locale, status, words):
    monkeypatch.setenv("LC_ALL", locale)
    (found,) = examine([check("text")], target)
    assert found.finding.status.value == status
    assert words in found.finding.text
    assert f"LC_ALL={locale}" in found.finding.text


def test_an_encoding_without_chinese(target: Target, monkeypatch):
    monkeypatch.setattr("locale.setlocale", lambda category, name: name)
    monkeypatch.setattr("locale.nl_langinfo", lambda item: "ISO-8859-1")
    found = limits.text(target)
    assert found.status is Status.WARN
    assert found.fix == "export LC_ALL=C.UTF-8"


def test_all_of_them_run_here(target: Target):
    found = examine(CHECKS, target)
    assert not [d for d in found if "the check itself broke" in d.finding.text]
