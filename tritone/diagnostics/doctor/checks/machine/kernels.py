"""The kernels in C for this processor: which are built, and can be loaded."""

from pathlib import Path

from tritone import resources
from tritone.diagnostics.doctor.check import Finding, check, passed, warning
from tritone.diagnostics.doctor.target import Target
from tritone.errors import EnvironmentProblem
from tritone.resources.kernels import build, library


def _on_gpu(target: Target) -> str:
    return "the flow runs on the GPU" if target.on_gpu else ""


@check("machine.kernels", limit_s=30.0, unless=_on_gpu)
def kernels(target: Target) -> Finding:
    folder = resources.kernels_dir(target.cache_dir)
    here = [kernel for kernel in build.KERNELS if kernel.runs_here]
    if not here:
        return passed(
            "none for this processor, which has no AVX-512; torch and ONNX Runtime compute"
        )
    lacking = [kernel.title for kernel in here if not kernel.path_in(folder).exists()]
    built = [kernel for kernel in here if kernel.title not in lacking]
    faults = {kernel.title: _fault(kernel.path_in(folder)) for kernel in built}
    fine = ", ".join(name for name, fault in faults.items() if not fault) or "none"
    compiler = build.compiler()
    facts = f"{fine} in {folder}; compiler: {compiler or 'none'}"
    make = f"tritone kernels --cache-dir {target.cache_dir}"
    if lacking:
        text = f"{facts}; not built for this processor: {', '.join(lacking)}"
        return warning(
            f"{text}; without them attention and the language model in int8_rows are slower, and "
            "there is no int8 flow",
            make if compiler else f"apt-get install gcc; {make}",
        )
    if refused := [fault for fault in faults.values() if fault]:
        other = "or have another folder: TRITONE_KERNELS=DIR for `tritone kernels` and the server"
        return warning(f"{facts}; {'; '.join(refused)}", f"mend that, {other}")
    return passed(facts)


def _fault(path: Path) -> str:
    """What keeps a server from using it; this process is the check's own."""
    try:
        library.opened(path)
    except EnvironmentProblem as problem:
        return str(problem)
    return ""
