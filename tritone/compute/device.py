"""Where torch runs and in which precision, by the names that configurations use."""

import torch

from tritone.errors import EnvironmentProblem

DTYPES = {"auto": None, "fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

_WIDE = 128  # channels; narrower networks are bound by everything but their products


def torch_device(name: str) -> torch.device:
    """The device "cpu", "cuda" or "cuda:N"; raises EnvironmentProblem where it cannot be used."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise EnvironmentProblem(f"device {name!r} is unknown; take cpu or cuda") from error
    if device.type not in ("cpu", "cuda"):
        raise EnvironmentProblem(f"device {name!r} is not supported; take cpu or cuda")
    if device.type == "cpu":
        return device
    if torch.version.cuda is None:
        raise EnvironmentProblem(
            f"device {device} was asked for, but torch {torch.__version__} is built for the CPU "
            "alone: install a CUDA build, use the GPU container, or take the profile cpu"
        )
    count = torch.cuda.device_count()
    if (device.index or 0) >= count:
        raise EnvironmentProblem(
            f"device {device} was asked for and torch sees {count} NVIDIA GPUs: check nvidia-smi "
            "and CUDA_VISIBLE_DEVICES, start a container with the GPU, or take the profile cpu"
        )
    return device


def torch_dtype(name: str) -> torch.dtype | None:
    """The precision of a name in DTYPES; raises EnvironmentProblem for another."""
    if name not in DTYPES:
        raise EnvironmentProblem(f"precision {name!r} is none of {', '.join(DTYPES)}")
    return DTYPES[name]


def best_dtype(device: torch.device, channels: int) -> torch.dtype:
    """What a network runs best in: bfloat16 on a GPU, and on a CPU with units for it when the
    network has enough channels to gain from them; float32 elsewhere."""
    if device.type != "cpu":
        return torch.bfloat16
    instructions = torch.cpu.get_capabilities()
    units = instructions.get("avx512_bf16") or instructions.get("amx_bf16")
    return torch.bfloat16 if units and channels >= _WIDE else torch.float32
