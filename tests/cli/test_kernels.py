"""tritone kernels, with a compiler that pretends, and what `tritone convert` says of it."""

from pathlib import Path

import pytest
from fake_compiler import fake_compiler

from tritone import cli
from tritone.cli.kernels import built
from tritone.resources.kernels.build import KERNELS

NEEDS = {need: True for kernel in KERNELS for need in kernel.needs}
OLDER = {need: True for need in NEEDS if not need.startswith("amx")}


@pytest.fixture(autouse=True)
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A line for each call of the compiler of a processor that has everything."""
    monkeypatch.delenv("TRITONE_KERNELS")
    command, calls = fake_compiler(tmp_path)
    monkeypatch.setenv("CC", command)
    has(monkeypatch, NEEDS)
    return calls


def has(monkeypatch: pytest.MonkeyPatch, instructions: dict[str, bool]) -> None:
    monkeypatch.setattr("tritone.resources.processor.instructions", lambda: instructions)


def without_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CC")
    monkeypatch.setenv("PATH", str(tmp_path))


def kernels(*words: str) -> int:
    return cli.main(["kernels", *words])


def test_it_builds_them_into_the_cache(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = tmp_path / "cache"
    assert kernels("--cache-dir", str(cache)) == 0
    lines = capsys.readouterr().out.splitlines()
    paths = [kernel.path_in(cache / "kernels") for kernel in KERNELS]
    assert [line.split() for line in lines] == [
        [kernel.title, str(path)] for kernel, path in zip(KERNELS, paths, strict=True)
    ]
    assert all(path.read_text() == "built\n" for path in paths)


def test_the_variable_names_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRITONE_KERNELS", str(tmp_path / "mine"))
    assert kernels("--cache-dir", str(tmp_path / "cache")) == 0
    assert str(tmp_path / "mine") in capsys.readouterr().out
    assert not (tmp_path / "cache").exists()


def test_a_check_builds_none(
    tmp_path: Path, calls: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--cache-dir", str(tmp_path / "cache"))
    assert kernels("--check", *options) == 1
    told = capsys.readouterr()
    assert told.out.count("not built") == len(KERNELS) and "tritone kernels" in told.err
    assert not calls.exists()
    assert kernels(*options) == kernels("--check", *options) == 0


def test_all_are_for_other_processors_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    has(monkeypatch, OLDER)
    options = ("--cache-dir", str(tmp_path / "cache"))
    assert kernels(*options) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "not built; this processor lacks amx_bf16, amx_tile" in lines["attention-amx"]
    assert "not built" not in lines["attention-avx512"]
    assert kernels("--all", "--check", *options) == 1
    assert kernels("--all", *options) == 0


def test_a_processor_that_runs_none_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: Path
) -> None:
    has(monkeypatch, {"avx2": True})
    options = ("--cache-dir", str(tmp_path / "cache"))
    assert kernels(*options) == kernels("--check", *options) == kernels("--quiet", *options) == 0
    assert not calls.exists()
    assert built(tmp_path) == ""


def test_without_a_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without_compiler(monkeypatch, tmp_path)
    options = ("--cache-dir", str(tmp_path / "cache"))
    assert kernels(*options) == 1
    assert "error: there is no C compiler: install one" in capsys.readouterr().err


def test_quiet_as_setup_runs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing of success, one line of what keeps them from being built; never a failure."""
    options = ("--quiet", "--cache-dir", str(tmp_path / "cache"))
    assert kernels(*options) == 0
    assert capsys.readouterr() == ("", "")
    without_compiler(monkeypatch, tmp_path)
    assert kernels("--quiet", "--cache-dir", str(tmp_path / "other")) == 0
    told = capsys.readouterr()
    assert told.out.startswith("no kernels: there is no C compiler")
    assert (told.out.count("\n"), told.err) == (1, "")


def test_a_conversion_says_it_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "kernels"
    assert built(folder) == (
        f"ok  kernels for this processor ({', '.join(k.title for k in KERNELS)}) in {folder}"
    )
    monkeypatch.setenv("CC", fake_compiler(tmp_path, "exit 1")[0])
    assert built(folder).startswith("ok ")  # they are there
    assert built(tmp_path / "other").startswith("no kernels: ")
    without_compiler(monkeypatch, tmp_path)
    assert built(tmp_path / "other") == ""
