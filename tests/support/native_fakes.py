"""What the doctor looks at for MPI, made up: packages, programs, shared libraries, variables."""

import os
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from paths import SUPPORT

from tritone.llm.trtllm.environment import is_inherited

_OTHERS = ("OPAL_PREFIX", "TMPDIR", "TEMP", "TMP", "ENABLE_MULTI_DEVICE", "TLLM_DISABLE_MPI")

Package = Callable[..., Path]
Program = Callable[[str, str], Path]


def hide_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """What this machine's environment says of MPI is out of sight."""
    for name in [*filter(is_inherited, os.environ), *_OTHERS]:
        monkeypatch.delenv(name, raising=False)


def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    """Makes a package of some version and code that this process and its children find."""
    site = tmp_path / "site"
    site.mkdir()
    tests = str(SUPPORT)
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{tests}")
    monkeypatch.syspath_prepend(str(site))

    def make(name: str, version: str = "", code: str = "") -> Path:
        folder = site / name
        folder.mkdir()
        (folder / "__init__.py").write_text(code)
        if version:
            info = site / f"{name}-{version}.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(
                f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            )
        return folder

    return make


def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Puts a shell script on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def make(name: str, body: str) -> Path:
        path = folder / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return path

    return make


def write_library(path: Path, *needed: str, runpath: str = "") -> Path:
    """A shared library of nothing but a dynamic section."""
    strings, places = b"\0", {}
    for text in (*needed, runpath, path.name):
        places[text] = len(strings)
        strings += text.encode() + b"\0"
    at = 64 + 2 * 56
    entries = [(1, places[name]) for name in needed] + [(5, at), (14, places[path.name])]
    entries += [(29, places[runpath])] if runpath else []
    dynamic = b"".join(struct.pack("<qQ", *entry) for entry in [*entries, (0, 0)])
    size = at + len(strings) + len(dynamic)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 3, 62, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0
    )
    load = struct.pack("<IIQQQQQQ", 1, 4, 0, 0, 0, size, size, 4096)
    start = at + len(strings)
    section = struct.pack("<IIQQQQQQ", 2, 4, start, start, start, len(dynamic), len(dynamic), 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header + load + section + strings + dynamic)
    return path


def compile_library(path: Path, code: str) -> None:
    """A shared library from C, where there is a compiler."""
    path.parent.mkdir(parents=True, exist_ok=True)
    command = ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(path)]
    try:
        subprocess.run(command, input=code.encode(), check=True)
    except FileNotFoundError:
        pytest.skip("no C compiler")
