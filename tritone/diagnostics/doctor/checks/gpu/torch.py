"""torch on the GPU."""

from typing import Any

from tritone.diagnostics.doctor.check import check
from tritone.diagnostics.doctor.checks.gpu.device import NO_GPU
from tritone.diagnostics.doctor.checks.gpu.driver import device_index, why_not
from tritone.diagnostics.doctor.finding import Finding, failure, passed
from tritone.diagnostics.doctor.isolated import call
from tritone.diagnostics.doctor.target import Target

_SEE_DRIVER = "python tritone doctor --only gpu.driver"
_TORCH_S = 40.0


@check("gpu.torch", unless=why_not, limit_s=_TORCH_S + 5)
def torch(target: Target) -> Finding:
    """torch is built with CUDA, sees the device and computes on it."""
    return torch_computes(f"cuda:{device_index()}", _TORCH_S)


def torch_computes(device: str, limit_s: float) -> Finding:
    outcome = call(product, device, limit_s=limit_s)
    if outcome.late:
        text = f"torch did not compute on {device} within {limit_s:g} s{outcome.wait}"
        return failure(text, f"{_SEE_DRIVER} gpu.mps")
    if outcome.status != 0:
        return failure(f"torch on {device}: {outcome.last_line}", _SEE_DRIVER)
    seen = outcome.answer
    if seen["cuda"] is None:
        return failure(
            f"torch {seen['version']} is built for the CPU alone",
            "install a CUDA build (https://pytorch.org/get-started/locally), or --profile cpu",
        )
    text = f"torch {seen['version']} for CUDA {seen['cuda']}"
    if not seen["names"]:
        return failure(f"{text} sees no GPU", f"{_SEE_DRIVER}; {NO_GPU}")
    return passed(f"{text} sees {', '.join(seen['names'])}; products on {device} are right")


def product(device: str) -> dict[str, Any]:
    """In a process of its own: a product of matrices in bfloat16, and what torch sees."""
    import torch

    if torch.cuda.is_available():
        tensor = torch.ones(256, 256, device=device, dtype=torch.bfloat16)
        assert float((tensor @ tensor)[0, 0]) == 256, "a product of ones in bfloat16 is wrong"
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {"version": torch.__version__, "cuda": torch.version.cuda, "names": names}
