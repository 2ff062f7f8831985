"""Compiles what steps of full-size flows and language models launch, for a GPU of the compute
capability that is given.

Prints for each kernel its name, the bytes of shared memory, and those of spilled registers.
"""

import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import torch
import triton
from outlined_llm import outlined
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from benchmarks.full_size import COSYVOICE2, COSYVOICE3
from tritone.acoustic.fused import convolutions, pages, products, rows
from tritone.acoustic.paged_solver import PagedSolver
from tritone.acoustic.solver import EulerSolver, SolverSettings
from tritone.families.cosyvoice2 import estimator as cosyvoice2
from tritone.families.cosyvoice3 import estimator as cosyvoice3
from tritone.llm.torch import fused
from tritone.llm.torch.fused_slots import FusedSlots
from tritone.operators import Launcher

TYPES = {
    torch.bfloat16: "*bf16",
    torch.float32: "*fp32",
    torch.int64: "*i64",
    torch.float64: "*fp64",
}
DUMP = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"


class Compiler:
    """In the place of a module's `launch`: compiles each kernel once for its types and
    constants."""

    def __init__(self, capability: int, module: ModuleType) -> None:
        self._target = GPUTarget("cuda", capability, 32)
        self._launch: Launcher = module.launch
        self._seen: set[str] = set()
        module.launch = self

    def __call__(self, kernel: str, grid: tuple[int, ...], *given, **constants) -> None:
        function = self._launch.kernel(kernel)
        types = [TYPES[x.dtype] if isinstance(x, torch.Tensor) else "i32" for x in given]
        signature = dict(zip(function.arg_names, types, strict=False))
        options = {name: constants.pop(name) for name in ("num_warps",) if name in constants}
        key = f"{kernel} {signature} {constants}"
        if key in self._seen:
            return
        self._seen.add(key)
        aligned = {
            (place,): [["tt.divisibility", 16]] for place, t in enumerate(types) if t[0] == "*"
        }
        signature |= dict.fromkeys(constants, "constexpr")
        source = ASTSource(function, signature, constexprs=constants, attrs=aligned)
        compiled = triton.compile(source, target=self._target, options=options)
        print(kernel, compiled.metadata.shared, spilled(compiled.asm["cubin"]), flush=True)


def spilled(binary: bytes) -> int:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "kernel.cubin"
        file.write_bytes(binary)
        usage = subprocess.run(
            [DUMP, "-res-usage", file], capture_output=True, text=True, check=True
        )
    return int(re.findall(r"STACK:(\d+)", usage.stdout)[0])


@torch.inference_mode()
def main(capability: int) -> None:
    for module in (convolutions, pages, products, rows, fused):
        Compiler(capability, module)
    for family, config in ((cosyvoice2, COSYVOICE2.flow), (cosyvoice3, COSYVOICE3.flow)):
        with torch.device("meta"):
            estimator = family.Estimator(config).to("meta", torch.bfloat16)
            steps = config.solver.model_copy(update={"n_timesteps": 1})
            euler = EulerSolver(estimator, steps, SolverSettings(left_chunks=6))
            solver = PagedSolver(euler, pages=16, streams=4, batch=2, fused=True)
            solver._advance(2, 16, False)
    session = outlined(FusedSlots)
    for streams in (1, session.slots):
        session._step(streams, session.slot_length)
    session._read(session.prefill_part)


if __name__ == "__main__":
    main(int(sys.argv[1]))
