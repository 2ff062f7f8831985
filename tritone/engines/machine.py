"""What a plan is tied to: the GPU, its driver, and the version of TensorRT."""

import importlib
import re
import subprocess
from dataclasses import dataclass
from types import ModuleType

import torch

from tritone.compute import torch_device
from tritone.engines.requirement import PACKAGE, REQUIREMENT, VERSION
from tritone.errors import EnvironmentProblem

_DRIVER = ("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
_DRIVER_TIMEOUT_S = 20


@dataclass(frozen=True)
class Machine:
    """A plan runs where all of these are the same as where it was built.

    gpu: its name. compute_capability: as 9.0. driver: of the kernel. tensorrt: of the package.
    """

    gpu: str
    compute_capability: str
    driver: str
    tensorrt: str

    def folder(self, dtype: str) -> str:
        """Name of the directory of what was built here in a precision (bfloat16, float16)."""
        gpu = re.sub(r"[^a-z0-9]+", "-", self.gpu.lower()).strip("-")
        capability = self.compute_capability.replace(".", "")
        return f"{gpu}-sm{capability}-driver{self.driver}-trt{self.tensorrt}-{dtype}"


def import_tensorrt() -> ModuleType:
    """The package tensorrt; raises EnvironmentProblem if it is missing or of another version."""
    needed = f"plans are built and run with TensorRT {'.'.join(map(str, VERSION))}"
    advice = f"use the GPU container, or pip install {REQUIREMENT}"
    try:
        trt = importlib.import_module(PACKAGE)
    except (ImportError, OSError) as error:  # OSError: its libraries do not load
        raise EnvironmentProblem(
            f"the Python package {PACKAGE} cannot be imported ({error}); {needed}: {advice}"
        ) from error
    version: str = trt.__version__
    if version.split(".")[:2] != [str(part) for part in VERSION]:
        raise EnvironmentProblem(f"TensorRT {version} is installed; {needed}: {advice}")
    return trt


def this_machine() -> Machine:
    """The machine that torch sees; raises EnvironmentProblem without a GPU or TensorRT."""
    torch_device("cuda")
    major, minor = torch.cuda.get_device_capability()
    return Machine(
        gpu=torch.cuda.get_device_name(),
        compute_capability=f"{major}.{minor}",
        driver=driver_version(),
        tensorrt=str(import_tensorrt().__version__),
    )


def driver_version() -> str:
    """Version of the NVIDIA driver; raises EnvironmentProblem if nvidia-smi does not tell."""
    try:
        done = subprocess.run(
            _DRIVER, capture_output=True, text=True, check=True, timeout=_DRIVER_TIMEOUT_S
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise EnvironmentProblem(
            f"`{' '.join(_DRIVER)}` does not work ({error}); plans are kept by driver version: "
            "install the driver's utilities (NVIDIA_DRIVER_CAPABILITIES=compute,utility in a "
            "container)"
        ) from error
    return done.stdout.split("\n")[0].strip()
