"""The doctor's checks of the Python that serves, each against a fault planted for it."""

import importlib.metadata
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from out_of_time import HANG, by_marks
from paths import PROJECT

from tritone.diagnostics.doctor.catalogue import GENERAL, chosen
from tritone.diagnostics.doctor.check import Status
from tritone.diagnostics.doctor.checks import python
from tritone.diagnostics.doctor.examine import examine
from tritone.diagnostics.doctor.isolated import Outcome
from tritone.diagnostics.doctor.target import Target
from tritone.launcher import checks
from tritone.launcher.binaries import STUB, python_version

pytestmark = pytest.mark.slow

CHECKS = chosen(GENERAL, ["python"])


def check(name: str):
    return next(c for c in CHECKS if c.name == f"python.{name}")


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return Target(cache_dir=tmp_path / "cache")


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in front of everything that is installed, for processes started from now on."""
    folder = tmp_path / "planted"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A server's wheel with a stub for another Python alone."""
    root = tmp_path / "wheel" / "pytriton" / "tritonserver"
    for name in ("bin/tritonserver", f"python_backend_stubs/3.8/{STUB}"):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_bytes(b"elf")
        (root / name).chmod(0o755)
    monkeypatch.setenv("PATH", "/nonexistent")
    return tmp_path / "wheel"


class TestThisOne:
    def test_everything_is_well_here(self, target: Target):
        for diagnosis in examine([c for c in CHECKS if c.name != "python.imports"], target):
            assert diagnosis.finding.status is Status.PASS, diagnosis.finding

    def test_versions_are_those_of_the_project(self, monkeypatch, target: Target):
        (_, oldest), (_, newest) = python.VERSIONS
        project = importlib.metadata.metadata("tritone")
        assert set(project["Requires-Python"].split(",")) == {f"<3.{newest + 1}", f">=3.{oldest}"}
        monkeypatch.setattr(python, "VERSIONS", ((3, 6), (3, 7)))
        found = python.version(target)
        assert found.status is Status.FAIL
        assert "3.6 to 3.7 is needed" in found.text
        assert found.fix.startswith("make setup PYTHON=python3.7")

    def test_an_interpreter_that_is_everybodys(self, monkeypatch, target: Target):
        monkeypatch.setattr(sys, "prefix", sys.base_prefix)
        assert python.version(target).status is Status.WARN


class TestTriton:
    def test_no_server(self, target: Target, tmp_path: Path, monkeypatch):
        monkeypatch.setenv("PATH", "/nonexistent")
        found = python.triton(replace(target, wheel_dir=tmp_path))
        assert found.status is Status.FAIL
        assert "no Triton server" in found.text
        assert f"-m pip install --no-deps --target {tmp_path} " in found.fix

    def test_a_stub_for_another_python(self, target: Target, wheel: Path):
        found = python.triton(replace(target, wheel_dir=wheel))
        assert found.status is Status.FAIL
        assert f"this is Python {python_version()}" in found.text
        assert "3.8 only" in found.text
        assert found.fix == "make the environment with one of these versions"

    def test_no_libpython(self, target: Target, wheel: Path, tmp_path, monkeypatch):
        monkeypatch.setattr("sysconfig.get_config_var", lambda name: str(tmp_path))
        monkeypatch.setattr(sys, "base_prefix", str(tmp_path))
        found = python.libpython(replace(target, wheel_dir=wheel))
        assert found.status is Status.FAIL
        assert f"apt-get install libpython{python_version()}" in found.fix

    @pytest.mark.parametrize(
        "seen, text, fix",
        [
            ({"tritone": False}, "tritone is not installed", "-m pip install -e ."),
            ({"numpy": "2.2.0"}, "numpy 2.2.0", "pip install 'numpy>=1.26,<2'"),
            ({"numpy": None}, "numpy is not installed", "pip install 'numpy>=1.26,<2'"),
        ],
    )
    def test_what_the_stub_will_see(self, target: Target, monkeypatch, seen, text, fix):
        answer = {"prefix": sys.prefix, "numpy": "1.26.4", "tritone": True, **seen}
        monkeypatch.setattr(checks, "_ask_stub_interpreter", lambda environment: answer)
        found = python.interpreter(target)
        assert found.status is Status.FAIL
        assert text in found.text
        assert found.fix.endswith(fix)


class TestPath:
    def test_a_module_in_front(self, target: Target, planted: Path):
        (planted / "torch.py").touch()
        (planted / "unrelated.py").touch()
        found = python.path(target)
        assert found.status is Status.WARN
        assert str(planted / "torch.py") in found.text
        assert "unrelated" not in found.text
        assert found.fix == "unset PYTHONPATH"

    def test_nothing_in_front(self, target: Target, planted: Path, monkeypatch):
        assert python.path(target).status is Status.PASS
        monkeypatch.setenv("PYTHONPATH", str(PROJECT))
        assert python.path(target).status is Status.PASS

    def test_another_home(self, target: Target, monkeypatch):
        monkeypatch.setenv("PYTHONHOME", "/elsewhere")
        assert python.path(target).fix == "unset PYTHONHOME"


class TestRequirements:
    def plant(self, folder: Path, name: str, version: str) -> None:
        information = folder / f"{name}-{version}.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )

    def test_versions_that_clash(self, target: Target, planted: Path):
        self.plant(planted, "numpy", "2.2.0")
        self.plant(planted, "pydantic", "1.10.2")
        (found,) = examine([check("requirements")], target)
        assert found.finding.status is Status.FAIL
        for words in (
            "tritone 0.1.0 has requirement numpy<2,>=1.26, but you have numpy 2.2.0",
            "tritone 0.1.0 has requirement pydantic<3,>=2.7, but you have pydantic 1.10.2",
        ):
            assert words in found.finding.text
        assert found.finding.fix.endswith("-m pip install -c constraints.txt -e .")

    def test_only_what_is_needed_counts(self):
        needed = python.distributions_needed()
        assert {"tritone", "numpy", "onnxruntime", "packaging", "hibari-tts"} <= needed
        assert not {"pytest", "modelscope-hub", "resemblyzer"} & needed
        ours, others = python.clashes(
            [
                "Hibari_TTS 0.2.1 requires wetext, which is not installed.",
                "resemblyzer 0.1.4 requires librosa, which is not installed.",
                "No broken requirements found.",
            ],
            needed,
        )
        assert ours == ["Hibari_TTS 0.2.1 requires wetext, which is not installed"]
        assert others == ["resemblyzer 0.1.4 requires librosa, which is not installed"]

    def test_no_pip(self, target: Target, planted: Path):
        (planted / "pip.py").write_text("raise SystemExit('/python: No module named pip')")
        assert python.requirements(target).status is Status.SKIP

    def test_a_pip_that_breaks(self, target: Target, planted: Path):
        (planted / "pip.py").write_text("raise SystemExit('no such luck')")
        found = python.requirements(target)
        assert found.status is Status.WARN
        assert "no such luck" in found.text


class TestImports:
    def test_what_is_declared_is_imported(self):
        lines = importlib.metadata.requires("tritone") or []
        declared = {re.match(r"[\w-]+", line)[0] for line in lines if "extra ==" not in line}
        assert set(python.IMPORTS.values()) - declared <= {"psutil"}
        # not when it serves, or imported by this command itself
        others = {"onnx", "tqdm", "rich", "prometheus-client", "typer", "typing-extensions"}
        assert declared - set(python.IMPORTS.values()) <= others

    def test_one_that_sleeps_for_ever_is_named_with_its_place(
        self, target: Target, planted: Path, monkeypatch, tmp_path: Path
    ):
        (planted / "soundfile.py").write_text(
            f"import time\n\ndef wait_for_the_sound_card():\n    {HANG}\n\n"
            "wait_for_the_sound_card()\n"
        )
        monkeypatch.setattr(python, "IMPORTS", {"safetensors": "safetensors", "soundfile": "x"})
        by_marks(monkeypatch, tmp_path / "marks")
        found = python.imports(target)
        assert found.status is Status.FAIL
        assert re.search(r"soundfile did not import within \d s; it was in File ", found.text)
        assert f'"{planted}/soundfile.py", line 4 in wait_for_the_sound_card < File ' in found.text
        assert f'"{planted}/soundfile.py", line 6 in <module>' in found.text
        assert "safetensors" not in found.text
        assert "-X importtime -c 'import soundfile'" in found.fix

    def test_one_that_raises_or_crashes(self, planted: Path):
        (planted / "wetext.py").write_text("import libcudart_of_old")
        (planted / "hibari.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGILL)")
        raised, crashed = (python.import_alone(name) for name in ("wetext", "hibari"))
        assert python.how_it_failed(raised) == (
            "does not import: ModuleNotFoundError: No module named 'libcudart_of_old'"
        )
        assert "signal 4 on import, an instruction" in python.how_it_failed(crashed)

    def test_the_fix_of_a_broken_one_is_its_distribution(self, target: Target, monkeypatch):
        broken = Outcome(1, 0.1, "", "ImportError: undefined symbol")
        good = Outcome(0, 0.1, "", "")
        monkeypatch.setattr(
            python, "import_alone", lambda name: broken if name == "hibari" else good
        )
        found = python.imports(target)
        assert found.text == "hibari does not import: ImportError: undefined symbol"
        assert found.fix.endswith("-c constraints.txt hibari-tts")

    def test_through_the_doctor(self, target: Target, planted: Path):
        for name in ("torch", "onnxruntime", "wetext", "hibari"):
            (planted / f"{name}.py").touch()
        (planted / "torch.py").write_text("raise ImportError('libcudnn.so.9: no such file')")
        (found,) = examine([check("imports")], target)
        assert found.finding.status is Status.FAIL
        assert (
            found.finding.text == "torch does not import: ImportError: libcudnn.so.9: no such file"
        )
