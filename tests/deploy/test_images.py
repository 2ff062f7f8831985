"""The images, as far as a machine without Docker can tell."""

import re
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest
from container_files import CACHE, TARGETS, only, stage
from packaging.requirements import Requirement
from paths import PROJECT

from tritone.launcher.binaries import WHEEL


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    found = subprocess.run(
        [hadolint, "--failure-threshold", "style", "Dockerfile"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stdout + found.stderr) == (0, "")


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_runs_without_root_and_hears_signals(target: str) -> None:
    user, group = only(target, "USER").value[0].split(":")
    assert user == group != "0"
    assert f"--uid {user}" in stage(target)["RUN"][0].value[0]
    assert only(target, "ENTRYPOINT").json, "in shell form the shell would get the signals"
    assert only(target, "HEALTHCHECK").json
    assert only(target, "VOLUME").value == (CACHE,)


def test_both_images_have_the_same_interface() -> None:
    for instruction in ("USER", "WORKDIR", "VOLUME", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK"):
        cpu, gpu = (only(target, instruction) for target in TARGETS)
        assert (cpu.value, cpu.flags) == (gpu.value, gpu.flags), instruction
    assert only("cpu", "EXPOSE").value == ("8000", "8001", "8002")


def test_the_cpu_image_has_the_server_that_the_launcher_looks_for() -> None:
    assert any(WHEEL in run.value[0] for run in stage("cpu")["RUN"])


@pytest.mark.parametrize(
    ("package", "version"),
    [("torch", "2.7.0a0+79aa17489c.nv25.4"), ("numpy", "1.26.4")],
)
def test_what_the_gpu_base_has_is_in_our_ranges(package: str, version: str) -> None:
    """Versions of the base 25.06: Triton's docs/introduction/compatibility.md. Otherwise pip would
    replace what its tensorrt_llm was built for; the Dockerfile lets it fail instead."""
    ours = {need.name: need.specifier for need in map(Requirement, requires("tritone"))}
    assert ours[package].contains(version, prereleases=True)


def test_the_cpu_image_finds_the_kernels_and_has_no_compiler() -> None:
    """They are for the processors that will run it, and outside the volume of the cache."""
    place = only("cpu", "ENV").value[1]
    assert only("cpu", "ENV").value[0] == "TRITONE_KERNELS" and not place.startswith(CACHE)
    copy = only("cpu", "COPY")
    assert copy.flags == ("--from=cpu-kernels",) and copy.value == (place, place)
    built = [run.value[0] for run in stage("cpu-kernels")["RUN"]]
    assert built[-1] == f"TRITONE_KERNELS={place} tritone kernels --all"
    assert any("gcc" in run for run in built)
    assert not any("gcc" in run.value[0] for run in stage("cpu")["RUN"])


@pytest.mark.parametrize("target", TARGETS)
def test_the_build_context_holds_what_is_copied(target: str) -> None:
    lines = (PROJECT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert lines[1] == "*"
    kept = {line[1:] for line in lines if line.startswith("!")}
    copied = [command for command in stage(target).get("COPY", []) if not command.flags]
    wanted = {command.value[0] for command in copied}
    mounted = {flag for run in stage(target)["RUN"] for flag in run.flags if "source=" in flag}
    wanted |= {re.search(r"source=([^,]+)", flag)[1] for flag in mounted}
    wanted |= {"pyproject.toml", "README.md", "LICENSE", "NOTICE", "tritone", "client"}
    links = [path for path in (PROJECT / "tritone" / "resources").iterdir() if path.is_symlink()]
    assert len(links) == 2
    wanted |= {str(path.resolve().relative_to(PROJECT)) for path in links}
    assert wanted <= kept
    assert all((PROJECT / path).exists() for path in kept)
