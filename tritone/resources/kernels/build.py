"""Compiles the kernels for processors of this kind, where there is a compiler.

They are code that this process will run: they lie in the cache, which belongs to whom the server
runs as. A server never compiles; without kernels it takes the operators of torch and ONNX Runtime.
"""

import hashlib
import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tritone import resources
from tritone.errors import EnvironmentProblem
from tritone.resources import processor

HERE = Path(__file__).parent
SOURCES = ("attention.c", "linear.c", "decoder.c")
HEADERS = ("attend.h", "lanes.h", "panels.h", "product.h", "quantise.h", "tiles.h")
TIMEOUT_S = 120
_AVX512 = ("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mfma")
_FLAGS = ("-O3", "-std=c11", "-D_GNU_SOURCE", "-shared", "-fPIC", *_AVX512)
_COMPILERS = ("cc", "gcc", "clang")


@dataclass(frozen=True)
class Kernel:
    """One build of a source. needs: of `processor.instructions`. dtype: of what it takes and gives,
    fp32 or bf16. width_step: the inner axis of what it multiplies is a multiple of it."""

    source: str
    name: str
    dtype: str
    needs: tuple[str, ...]
    flags: tuple[str, ...]
    width_step: int

    @property
    def title(self) -> str:
        """Of all kernels: different for each."""
        return f"{Path(self.source).stem}-{self.name}"

    @property
    def lacking(self) -> str:
        """The instructions that this processor has not."""
        found = processor.instructions()
        return ", ".join(need for need in self.needs if need not in found)

    @property
    def runs_here(self) -> bool:
        return not self.lacking

    @property
    def path(self) -> Path:
        return self.path_in(resources.kernels_dir())

    def path_in(self, folder: Path) -> Path:
        """Where it is once it is built; another for other sources or flags."""
        seen = hashlib.sha256(" ".join(self._arguments).encode())
        for name in (self.source, *HEADERS):
            seen.update((HERE / name).read_bytes())
        return folder / seen.hexdigest()[:16] / f"{self.title}.so"

    @property
    def _arguments(self) -> tuple[str, ...]:
        return (*_FLAGS, *self.flags)

    def build(self, compiler: str, folder: Path | None = None) -> Path:
        """Compile it, unless it is there; raises EnvironmentProblem with what the compiler says.
        Whatever the umask, others cannot write it: it would not be loaded."""
        made = self.path_in(folder or resources.kernels_dir())
        try:
            if made.exists():
                return made
            for place in (made.parents[1], made.parent):
                place.mkdir(mode=0o755, parents=True, exist_ok=True)
            with TemporaryDirectory(dir=made.parent) as draft:
                new = Path(draft) / made.name
                source = str(HERE / self.source)
                _run([*shlex.split(compiler), *self._arguments, "-o", str(new), source])
                new.chmod(new.stat().st_mode & 0o755)
                new.rename(made)
        except OSError as error:
            raise EnvironmentProblem(f"the kernel {made} cannot be written: {error}") from error
        return made


_BASE = ("avx512f", "avx512bw", "avx512vl", "avx512dq", "fma")
_BF16, _AMX = ("-mavx512bf16", "-DTRITONE_BF16"), ("-mamx-tile", "-DTRITONE_AMX")
_VNNI = ("-mavx512vnni", "-DTRITONE_INT8")
_BF16_NEEDS = (*_BASE, "avx512_bf16")


def _kernel(name: str, dtype: str, needs: tuple[str, ...], *flags: str) -> Kernel:
    return Kernel(SOURCES[0], name, dtype, needs, flags, 16 if dtype == "fp32" else 32)


def _decoder(name: str, needs: tuple[str, ...], *flags: str) -> Kernel:
    return Kernel(SOURCES[2], name, "fp32", needs, (*_VNNI, *flags), 64)


def _int8(name: str, dtype: str, needs: tuple[str, ...], *flags: str) -> Kernel:
    return Kernel(SOURCES[1], name, dtype, needs, (*_VNNI, *flags), 64)


# The better ones of a precision first.
ATTENTION_KERNELS = (
    _kernel("amx", "bf16", (*_BF16_NEEDS, "amx_bf16", "amx_tile"), *_BF16, *_AMX, "-mamx-bf16"),
    _kernel("avx512-bf16", "bf16", _BF16_NEEDS, *_BF16),
    _kernel("avx512", "fp32", _BASE),
)
INT8_KERNELS = (
    _int8("amx", "bf16", (*_BF16_NEEDS, "amx_int8", "amx_tile"), *_BF16, *_AMX, "-mamx-int8"),
    _int8("avx512-bf16", "bf16", (*_BF16_NEEDS, "avx512_vnni"), *_BF16),
    _int8("avx512", "fp32", (*_BASE, "avx512_vnni")),
)
DECODER_KERNELS = (
    _decoder(
        "amx",
        (*_BASE, "avx512_vnni", "amx_int8", "amx_tile"),
        *_AMX,
        "-mamx-int8",
    ),
    _decoder("avx512-vnni", (*_BASE, "avx512_vnni")),
)
KERNELS = (*ATTENTION_KERNELS, *INT8_KERNELS, *DECODER_KERNELS)


def compiler() -> str | None:
    """The command of a C compiler: $CC, or one that is on the path."""
    return os.environ.get("CC") or next(filter(shutil.which, _COMPILERS), None)


def build_all(folder: Path | None = None, *, every: bool = False) -> list[Path]:
    """Build what this processor can run, or every kernel, for another machine.

    Raises EnvironmentProblem where there is nothing to build, and where something cannot be built,
    after the others were.
    """
    wanted = [kernel for kernel in KERNELS if every or kernel.runs_here]
    if not wanted:
        raise EnvironmentProblem(
            "this processor has no AVX-512, for which the kernels are written: the "
            "operators of torch and ONNX Runtime serve here"
        )
    command = compiler()
    if command is None:
        raise EnvironmentProblem(
            "there is no C compiler: install one (apt-get install gcc) or name it in CC; until "
            "then torch's own operators serve"
        )
    built, problems = [], []
    for kernel in wanted:
        try:
            built.append(kernel.build(command, folder))
        except EnvironmentProblem as problem:
            problems.append(problem)
    if problems:
        raise problems[0]
    return built


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvironmentProblem(f"the compiler {command[0]} cannot be run: {error}") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        what = next((line for line in said if "error" in line), said[-1] if said else "nothing")
        raise EnvironmentProblem(f"{command[0]} does not compile {Path(command[-1]).name}: {what}")
