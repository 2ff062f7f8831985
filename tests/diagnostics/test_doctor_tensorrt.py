"""Versions that clash, engines of another machine, backends that are missing: each by its name."""

import importlib.metadata
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fake_gpu import H200
from paths import EMBEDDED
from trtllm_fixtures import write_engine

from tritone.diagnostics.doctor.check import Status
from tritone.diagnostics.doctor.checks import tensorrt
from tritone.diagnostics.doctor.child import ANSWER
from tritone.diagnostics.doctor.isolated import Outcome
from tritone.diagnostics.doctor.target import Target
from tritone.engines.machine import Machine
from tritone.engines.record import EngineRecord, PartRecord, Verdict, engine_folder
from tritone.engines.sources import Sources
from tritone.families import doctor, open_model

pytestmark = pytest.mark.slow

PASSED = Verdict(0.01, 0.05, 1.0, None)
CPU, GPU, TORCH, BACKEND = (
    Target(profile=profile) for profile in ("cpu", "gpu", "gpu-torch", "gpu-backend")
)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets the versions that metadata tells, "_" for "-"."""

    def have(**known: str) -> None:
        def version(name: str) -> str:
            if name.replace("-", "_") not in known:
                raise importlib.metadata.PackageNotFoundError(name)
            return known[name.replace("-", "_")]

        monkeypatch.setattr(importlib.metadata, "version", version)

    return have


class TestVersions:
    def test_a_cpu_needs_none(self) -> None:
        assert tensorrt.versions(CPU).status is Status.SKIP

    def test_what_fits(self, installed) -> None:
        installed(tensorrt_llm="0.20.0", torch="2.7.0a0+79aa174", tensorrt="10.10.0.31")
        finding = tensorrt.versions(GPU)
        assert finding.status is Status.PASS
        assert finding.text == "tensorrt_llm 0.20.0, torch 2.7.0a0+79aa174, tensorrt 10.10.0.31"

    @pytest.mark.parametrize(
        "changes, sign",
        [
            ({"tensorrt": "10.11.0.33"}, "engines need TensorRT 10.10, not tensorrt 10.11.0.33"),
            ({"torch": "2.13.0"}, "is compiled for torch 2.7, not 2.13.0"),
            ({"tensorrt_llm": "1.0.0"}, "profile gpu needs tensorrt_llm 0.20"),
            (
                {"tensorrt_cu12": "10.9.0.34"},
                "tensorrt and tensorrt-cu12 are one package in two versions",
            ),
        ],
        ids=["tensorrt", "torch", "tensorrt_llm", "twice"],
    )
    def test_what_clashes(self, installed, changes, sign) -> None:
        fits = {"tensorrt_llm": "0.20.0", "torch": "2.7.0", "tensorrt": "10.10.0.31"}
        installed(**{**fits, **changes})
        finding = tensorrt.versions(GPU)
        assert finding.status is Status.FAIL
        assert sign in finding.text
        assert finding.fix

    def test_what_is_missing(self, installed) -> None:
        installed(torch="2.7.0")
        assert "the package tensorrt_llm is not installed" in tensorrt.versions(GPU).text
        installed(torch="2.7.0", tensorrt_llm="0.20.0")
        assert "needs TensorRT 10.10, which is not installed" in tensorrt.versions(GPU).text
        assert tensorrt.versions(TORCH).status is Status.PASS

    def test_the_llm_api_needs_another(self, installed) -> None:
        llmapi = replace(GPU, profile="gpu-llmapi")
        installed(torch="2.9.1", tensorrt_llm="0.20.0")
        assert "1.0 or later is needed" in tensorrt.versions(llmapi).text
        installed(torch="2.9.1", tensorrt_llm="1.1.0", tensorrt="10.13.2.6")
        assert tensorrt.versions(llmapi).status is Status.PASS

    def test_torch_alone_can_do_without(self, installed) -> None:
        installed(torch="2.9.1", tensorrt_cu12="10.13.0.35")
        finding = tensorrt.versions(TORCH)
        assert finding.status is Status.WARN
        assert "not tensorrt-cu12 10.13.0.35" in finding.text


class TestPlans:
    @pytest.fixture
    def model(self, tmp_path: Path) -> Path:
        """The embedded voice, with room for engines of its own."""
        folder = tmp_path / "model"
        folder.mkdir()
        for path in EMBEDDED.iterdir():
            if path.name != "engines":
                (folder / path.name).symlink_to(path)
        return folder

    def build(self, model: Path, machine: Machine = H200, **parts: str) -> Path:
        """A record of parts, each with the digest of its weights unless one is given."""
        opened, entries = open_model(model), {}
        given = opened.family.graph_source(model, opened.config)
        assert given is not None
        sources = Sources(model, opened.language_model, given)
        for name, source in parts.items():
            digest = source or sources.digest(name)
            entries[name] = PartRecord(
                source=digest, settings="s", nbytes=1, seconds=1.0, gate=PASSED
            )
        folder = engine_folder(model, machine, "bfloat16")
        folder.mkdir(parents=True)
        EngineRecord(machine=machine, dtype="bfloat16", parts=entries).write(folder)
        return folder

    def test_what_each_profile_makes_of_none(self, model: Path) -> None:
        assert doctor.plans(CPU).status is Status.SKIP
        without = doctor.plans(replace(TORCH, model_dir=model))
        assert without.status is Status.SKIP
        assert "has no engines; flow and vocoder run on torch" in without.text
        finding = doctor.plans(replace(GPU, model_dir=model))
        assert finding.status is Status.FAIL
        assert finding.fix == f"tritone engines {model}"
        write_engine(model, 6912)
        assert doctor.plans(replace(GPU, model_dir=model)).status is Status.PASS

    def test_what_was_built_here_from_these_weights(self, model: Path) -> None:
        self.build(model, vocoder="", llm="")
        verdicts = doctor.verdicts_of(str(model), H200)
        assert verdicts == {"llm in bfloat16": "", "vocoder in bfloat16": ""}

    def test_other_weights(self, model: Path) -> None:
        self.build(model, vocoder="f" * 64, llm="")
        verdicts = doctor.verdicts_of(str(model), H200)
        assert "vocoder was made from ffffffffffff" in verdicts["vocoder in bfloat16"]
        assert verdicts["llm in bfloat16"] == ""

    def test_another_machine_counts_only_without_this_one(self, model: Path) -> None:
        self.build(model, replace(H200, driver="550.54.15"), vocoder="")
        (refused,) = doctor.verdicts_of(str(model), H200).values()
        assert "driver is 550.54.15, here it is 570.124.06" in refused
        self.build(model, vocoder="")
        assert list(doctor.verdicts_of(str(model), H200).values()) == [""]

    def test_a_damaged_record(self, model: Path) -> None:
        folder = self.build(model, vocoder="")
        (folder / "engine.json").write_text("{")
        assert "cannot be read" in doctor.verdicts_of(str(model), H200)[folder.name]

    def test_a_machine_that_cannot_tell(self, model: Path) -> None:
        """torch here is for the CPU, and says so from a process of its own."""
        self.build(model, vocoder="")
        finding = doctor.plans(replace(TORCH, model_dir=model))
        assert finding.status is Status.FAIL
        assert "the engines cannot be compared with this machine" in finding.text

    @pytest.mark.parametrize(
        "answer, status, sign",
        [
            ("llm in bfloat16", Status.PASS, "from these weights: llm in bfloat16"),
            ("", Status.FAIL, "driver is 1, here it is 2"),
        ],
        ids=["fits", "refused"],
    )
    def test_the_verdicts_are_told(self, model, monkeypatch, answer, status, sign) -> None:
        write_engine(model, 6912)
        self.build(model, vocoder="")
        said = {"llm in bfloat16": "" if answer else "driver is 1, here it is 2"}
        outcome = Outcome(0, 1.0, f"{ANSWER}{json.dumps(said)}", "")
        monkeypatch.setattr(doctor, "call", lambda *_, limit_s: outcome)
        finding = doctor.plans(replace(GPU, model_dir=model))
        assert finding.status is status
        assert sign in finding.text


class TestBackends:
    @pytest.fixture
    def server(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """The backends directory of an installed server."""
        executable = tmp_path / "bin" / "tritonserver"
        executable.parent.mkdir()
        executable.write_text("#!/bin/sh\n")
        executable.chmod(0o755)
        monkeypatch.setenv("PATH", str(executable.parent))
        (tmp_path / "backends" / "python").mkdir(parents=True)
        (tmp_path / "backends" / "python" / "libtriton_python.so").touch()
        return tmp_path / "backends"

    def test_what_the_profiles_need(self, server: Path) -> None:
        assert tensorrt.backends(CPU).text == f"{server}: python"
        finding = tensorrt.backends(BACKEND)
        assert finding.status is Status.FAIL
        assert "needs tensorrtllm/libtriton_tensorrtllm.so" in finding.text
        library = server / "tensorrtllm" / "libtriton_tensorrtllm.so"
        library.parent.mkdir()
        library.touch()
        assert tensorrt.backends(BACKEND).text == f"{server}: python, tensorrtllm"

    def test_a_server_without_python(self, server: Path) -> None:
        (server / "python" / "libtriton_python.so").unlink()
        assert "every model needs the backend python" in tensorrt.backends(CPU).text

    def test_no_server(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "/nowhere")
        finding = tensorrt.backends(replace(CPU, wheel_dir=tmp_path))
        assert finding.status is Status.FAIL
        assert "no Triton server" in finding.text
        assert finding.fix == "make setup"
