"""Where torch runs and in which precision, by the names that configurations use."""

import torch

from tritone.errors import EnvironmentProblem

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def torch_device(name: str) -> torch.device:
    """The device "cpu", "cuda" or "cuda:N"; raises EnvironmentProblem where it cannot be used."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise EnvironmentProblem(f"device {name!r} is unknown; take cpu or cuda") from error
    if device.type not in ("cpu", "cuda"):
        raise EnvironmentProblem(f"device {name!r} is not supported; take cpu or cuda")
    if device.type == "cuda":
        _check_cuda(device)
    return device


def _check_cuda(device: torch.device) -> None:
    if torch.version.cuda is None:
        raise EnvironmentProblem(
            f"device {device} was asked for, but torch {torch.__version__} is built for the CPU "
            "alone: install a CUDA build, or take the profile cpu"
        )
    count = torch.cuda.device_count()
    if (device.index or 0) >= count:
        raise EnvironmentProblem(
            f"device {device} was asked for and torch sees {count} NVIDIA GPUs: check nvidia-smi "
            "and CUDA_VISIBLE_DEVICES, or take the profile cpu"
        )


def torch_dtype(name: str) -> torch.dtype:
    """The precision "fp32", "bf16" or "fp16"; raises EnvironmentProblem for another name."""
    if name not in DTYPES:
        raise EnvironmentProblem(f"precision {name!r} is none of {', '.join(DTYPES)}")
    return DTYPES[name]
