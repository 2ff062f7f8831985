"""Building the kernels: with a real compiler where there is one, else with one that pretends."""

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fake_compiler import fake_compiler
from native_kernels import kernel

from tritone.errors import EnvironmentProblem
from tritone.resources.kernels import build
from tritone.resources.kernels.build import KERNELS, SOURCES, Kernel, build_all, compiler


@pytest.fixture
def every_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {need: True for each in KERNELS for need in each.needs}
    monkeypatch.setattr("tritone.resources.processor.instructions", lambda: found)


def compile_with(monkeypatch: pytest.MonkeyPatch, folder: Path, then: str = "") -> Path:
    """As CC from now on; a file that has a line for each call."""
    command, calls = fake_compiler(folder, then)
    monkeypatch.setenv("CC", command)
    return calls


@pytest.mark.parametrize("each", KERNELS, ids=lambda each: each.title)
def test_a_compiler_has_nothing_to_warn_of(each: Kernel, tmp_path: Path) -> None:
    command = compiler()
    if command is None:
        pytest.skip("no C compiler is here")
    arguments = [*command.split(), *each._arguments, "-Wall", "-Wextra", "-Werror"]
    files = ["-o", str(tmp_path / "x.so"), str(build.HERE / each.source)]
    done = subprocess.run([*arguments, *files], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.usefixtures("every_processor")
def test_each_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = compile_with(monkeypatch, tmp_path)
    first = build_all(tmp_path / "kernels")
    assert first == build_all(tmp_path / "kernels")
    assert first == [each.path_in(tmp_path / "kernels") for each in KERNELS]
    assert len(calls.read_text().splitlines()) == len(KERNELS) == len(set(first))
    assert [path.read_text() for path in first] == ["built\n"] * len(first)
    assert not [path for path in (tmp_path / "kernels").rglob("tmp*")]


@pytest.mark.usefixtures("every_processor")
def test_it_lies_in_the_cache_or_where_the_variable_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITONE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TRITONE_KERNELS", str(tmp_path / "else"))
    assert all(each.path.is_relative_to(tmp_path / "else") for each in KERNELS)
    monkeypatch.delenv("TRITONE_KERNELS")
    assert all(each.path.is_relative_to(tmp_path / "cache" / "kernels") for each in KERNELS)
    compile_with(monkeypatch, tmp_path)
    assert build_all() == [each.path for each in KERNELS]


@pytest.mark.usefixtures("every_processor")
def test_others_cannot_write_it_whatever_the_umask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_with(monkeypatch, tmp_path)
    before = os.umask(0)
    try:
        path = build_all(tmp_path / "kernels")[0]
    finally:
        os.umask(before)
    for place in (path, *path.parents[:2]):
        assert not place.stat().st_mode & 0o022, place


def test_other_sources_and_other_flags_are_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {each.path_in(tmp_path) for each in KERNELS}
    assert len({path.parent for path in before}) == len(KERNELS)
    copies = [Path(shutil.copy(build.HERE / name, tmp_path)) for name in (*SOURCES, *build.HEADERS)]
    monkeypatch.setattr(build, "HERE", tmp_path)
    assert {each.path_in(tmp_path) for each in KERNELS} == before
    copies[-1].write_text(copies[-1].read_text() + "\n")
    assert not {each.path_in(tmp_path) for each in KERNELS} & before


@pytest.mark.usefixtures("every_processor")
def test_concurrent_builds_leave_whole_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both compile; a file is there whole or not at all, and the last one stays."""
    compile_with(monkeypatch, tmp_path)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: build_all(tmp_path / "kernels"), range(4)))
    assert found[0] == found[1] == found[2] == found[3]
    assert [path.read_text() for path in found[0]] == ["built\n"] * len(KERNELS)
    assert len([path for path in (tmp_path / "kernels").rglob("*") if path.is_file()]) == len(
        KERNELS
    )


def test_only_what_runs_here_unless_all_are_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs = kernel("avx512").needs
    monkeypatch.setattr(
        "tritone.resources.processor.instructions", lambda: dict.fromkeys(needs, True)
    )
    compile_with(monkeypatch, tmp_path)
    assert kernel("amx").lacking == "avx512_bf16, amx_bf16, amx_tile"
    (path,) = build_all(tmp_path / "kernels")
    assert path == kernel("avx512").path_in(tmp_path / "kernels")
    assert len(build_all(tmp_path / "kernels", every=True)) == len(KERNELS)
    monkeypatch.setattr("tritone.resources.processor.instructions", dict)
    with pytest.raises(EnvironmentProblem, match="has no AVX-512"):
        build_all(tmp_path / "kernels")


@pytest.mark.usefixtures("every_processor")
def test_without_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentProblem, match=r"no C compiler: install one .*or name it in CC"):
        build_all(tmp_path / "kernels")
    monkeypatch.setenv("CC", "no-such-compiler -m64")
    with pytest.raises(EnvironmentProblem, match="no-such-compiler cannot be run"):
        build_all(tmp_path / "kernels")


@pytest.mark.usefixtures("every_processor")
@pytest.mark.parametrize(
    ("then", "said"),
    [
        ("echo note >&2; echo 'x.c:1: error: no tiles' >&2; exit 1", "error: no tiles"),
        ("exit 3", "does not compile attention.c: nothing"),
        ("exec sleep 1000", "timed out after 0.2 seconds"),
        ("kill -9 $$", "does not compile"),
    ],
)
def test_a_compiler_that_fails(
    then: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_with(monkeypatch, tmp_path, then)
    monkeypatch.setattr(build, "TIMEOUT_S", 0.2 if "sleep" in then else 60)
    with pytest.raises(EnvironmentProblem, match=said):
        build_all(tmp_path / "kernels")
    assert not [path for path in (tmp_path / "kernels").rglob("*") if path.is_file()]


@pytest.mark.usefixtures("every_processor")
def test_one_that_cannot_be_built_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a compiler that is older than the matrix units."""
    refuse = "case \"$*\" in *-mamx-tile*) echo 'error: unrecognized option' >&2; exit 1;; esac"
    compile_with(monkeypatch, tmp_path, refuse)
    with pytest.raises(EnvironmentProblem, match="unrecognized option"):
        build_all(tmp_path / "kernels")
    there = [each.name for each in KERNELS if each.path_in(tmp_path / "kernels").exists()]
    assert there == [each.name for each in KERNELS if "-mamx-tile" not in each.flags]


@pytest.mark.usefixtures("every_processor")
def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compile_with(monkeypatch, tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentProblem, match=r"kernel .*/file/.* cannot be written"):
        build_all(tmp_path / "file" / "kernels")
