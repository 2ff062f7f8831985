"""A kernel that is built and cannot be used: it stops no automatic choice, and says why."""

import errno
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fake_compiler import fake_compiler
from native_kernels import SHORT, drawn, kernel, native, spans_of
from torch import Tensor

from tritone.acoustic.attention import attend, fused_by_span
from tritone.acoustic.placement import choose_attention
from tritone.acoustic.ways import choose
from tritone.errors import EnvironmentProblem
from tritone.loading.steps import Loader, Report, step
from tritone.resources.kernels.build import KERNELS, build_all, compiler

pytestmark = pytest.mark.usefixtures("own_ways")
SHAPE = (2, 2, 20, 32)


@pytest.fixture
def copied(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That for float32, to be harmed."""
    native("avx512", built)  # skips
    shutil.copytree(built, tmp_path / "copied")
    monkeypatch.setenv("TRITONE_KERNELS", str(tmp_path / "copied"))
    return kernel("avx512").path


def query(dtype: torch.dtype = torch.float32) -> Tensor:
    return drawn(SHAPE, 1, dtype)


def garbage(path: Path, _: pytest.MonkeyPatch) -> None:
    path.write_bytes(b"\x7fELF and no more")


def empty(path: Path, _: pytest.MonkeyPatch) -> None:
    """A library that has no kernel in it."""
    _compile("int nothing;", path)


def denied(path: Path, _: pytest.MonkeyPatch) -> None:
    """As where the system gives no leave for the tiles."""
    _compile(
        "int tritone_prepare(void) { return -1; } int tritone_attend(void) { return 0; }", path
    )


def not_executable(path: Path, patch: pytest.MonkeyPatch) -> None:
    """As on a mount with noexec."""

    def refuse(name: str) -> None:
        raise OSError(f"{name}: failed to map segment from shared object")

    patch.setattr("ctypes.CDLL", refuse)


def writable_file(path: Path, _: pytest.MonkeyPatch) -> None:
    path.chmod(0o775)


def writable_folder(path: Path, _: pytest.MonkeyPatch) -> None:
    path.parent.chmod(0o777)


def strangers(path: Path, patch: pytest.MonkeyPatch) -> None:
    real = Path.stat

    def stat(place: Path, **options: bool) -> os.stat_result:
        values = list(real(place, **options))
        values[4] = 12345 if place == path.parent else values[4]
        return os.stat_result(values)

    patch.setattr(Path, "stat", stat)


def unreadable(path: Path, patch: pytest.MonkeyPatch) -> None:
    real = Path.resolve

    def resolve(place: Path, strict: bool = False) -> Path:
        if place == path:
            raise PermissionError(errno.EACCES, "Permission denied", str(place))
        return real(place, strict)

    patch.setattr(Path, "resolve", resolve)


def _compile(source: str, path: Path) -> None:
    path.unlink()
    command = [*str(compiler()).split(), "-shared", "-x", "c", "-o", str(path), "-"]
    subprocess.run(command, input=source, text=True, check=True)


HARMS = {
    garbage: "cannot be loaded: .*file too short",
    empty: "cannot be loaded: .*undefined symbol",
    denied: "the system denies the units",
    not_executable: "cannot be loaded: .*failed to map segment",
    writable_file: r"is not run, since it can be written by others, .*; chmod go-w ",
    writable_folder: "is not run, since .* can be written by others",
    strangers: "is not run, since .* belongs to user 12345",
    unreadable: "cannot be looked at: .*Permission denied",
}


@pytest.mark.parametrize(("harm", "said"), HARMS.items(), ids=lambda x: getattr(x, "__name__", ""))
def test_a_kernel_that_cannot_be_used_stops_no_automatic_choice(
    harm: Callable[[Path, pytest.MonkeyPatch], None],
    said: str,
    copied: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And is refused by name, with the reason."""
    harm(copied, monkeypatch)
    with pytest.raises(EnvironmentProblem, match=f"attention is avx512: .*{said}.*; auto takes an"):
        choose("avx512", query())
    reports: list[Report] = []
    with Loader("token2wav", reports.append), step("flow packing"):
        choose_attention("auto", SHAPE, torch.float32)
    (done,) = (report for report in reports if report.kind == "done")
    assert done.note.startswith("attention fused; without avx512: ")
    spans = spans_of([50, 20], (2, 2, 32), torch.float32)
    assert torch.equal(attend(query(), spans, [None, None]), fused_by_span(query(), spans))


def test_a_folder_that_is_closed_stops_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """For os.path it is not there; pathlib would raise."""
    real = os.stat

    def stat(path: object, **options: object) -> os.stat_result:
        if str(path).startswith("/closed/"):
            raise PermissionError(errno.EACCES, "", str(path))
        return real(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("os.stat", stat)
    monkeypatch.setenv("TRITONE_KERNELS", "/closed/kernels")
    assert choose("auto", query()) == "fused"


def test_another_compiler_s_leftovers_are_no_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "tritone.resources.processor.instructions",
        lambda: {n: True for k in KERNELS for n in k.needs},
    )
    monkeypatch.setenv("CC", fake_compiler(tmp_path)[0])
    monkeypatch.setenv("TRITONE_KERNELS", str(tmp_path / "kernels"))
    build_all()
    said = choose("auto", query(SHORT))
    assert "; without amx: " in said and "; without avx512-bf16: " in said and "avx512:" not in said
