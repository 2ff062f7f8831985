"""The steps of loading, in order: how long each may take, what may hold it up, what to examine.

A step is late after `seconds` and the time to read its file at 20 MB/s, which a cold network disk
gives, all times the loader's `patience`.
"""

from dataclasses import dataclass
from pathlib import Path

SLOWEST_READ = 20e6  # bytes a second

TORCH_PROFILES = ("gpu", "gpu-torch", "gpu-llmapi")

_IMPORT = "a package blocks while it is imported"
_DISK = "the disk or network folder with the file is slow or does not answer"
_WEIGHTS = f"{_DISK}, or memory is short and the machine swaps"
_TEXT = "its rules are built or read: their folder is slow, or cannot be written"
_PROCESSOR = "the processor is busy or limited to a part of a core, or memory is short"
_GPU = (
    "the GPU does not answer, is full, or is held by another process; the first CUDA call of a "
    "torch built for another GPU compiles its kernels"
)
_AWAY = (
    "the server that `tensorrt_llm.url` names is not ready, cannot be reached, or has a "
    "certificate of another authority"
)
_MPI = "MPI, which the import starts, waits for a launcher or a network that is not there"


@dataclass(frozen=True)
class StepKind:
    """seconds: the limit without a file. check: the doctor's checks or groups.

    profiles: that have the step, none for all. Where a checkpoint or directory does not need a
    step, it has none: `optional`.
    """

    name: str
    seconds: float
    cause: str
    check: str
    profiles: tuple[str, ...] = ()
    optional: bool = False

    def limit(self, nbytes: int) -> float:
        """Seconds after which the step is late, for a file of so many bytes."""
        return self.seconds + nbytes / SLOWEST_READ


_KINDS = (
    StepKind("imports", 60, _IMPORT, "python.imports"),
    StepKind("config", 10, _DISK, "model.files"),
    StepKind("text tokenizer", 20, _DISK, "model.text"),
    StepKind("pronunciation", 60, _TEXT, "model.text", optional=True),
    StepKind("text normaliser", 60, _TEXT, "model.text"),
    StepKind("prompt tables", 20, _WEIGHTS, "model.weights", optional=True),
    StepKind("emotion model", 20, _WEIGHTS, "model.weights", optional=True),
    StepKind("speech features", 20, _WEIGHTS, "model.weights", optional=True),
    StepKind("speech tokenizer", 20, _WEIGHTS, "model.weights", optional=True),
    StepKind("speaker encoder", 20, _WEIGHTS, "model.weights", optional=True),
    StepKind("conditioners", 20, _WEIGHTS, "model.weights", optional=True),
    StepKind("listener", 20, _WEIGHTS, "model.weights", optional=True),
    StepKind("flow weights", 30, _WEIGHTS, "model.weights"),
    StepKind("start noise", 20, _PROCESSOR, "machine"),
    StepKind("flow placement", 60, _GPU, "gpu", TORCH_PROFILES),
    StepKind("flow packing", 60, _PROCESSOR, "machine", ("cpu",)),
    StepKind("flow plan", 60, _GPU, "tensorrt", TORCH_PROFILES, optional=True),
    StepKind("flow cache", 30, _GPU, "gpu", TORCH_PROFILES),
    StepKind("vocoder weights", 30, _WEIGHTS, "model.weights"),
    StepKind("vocoder placement", 60, f"{_PROCESSOR}; on a GPU: {_GPU}", "machine gpu"),
    StepKind("vocoder plan", 60, _GPU, "tensorrt", TORCH_PROFILES, optional=True),
    StepKind("LLM server", 30, _AWAY, "server", optional=True),
    StepKind("LLM imports", 60, _IMPORT, "python.imports"),
    StepKind("LLM graph", 120, _PROCESSOR, "machine model.weights", ("cpu",), optional=True),
    StepKind("LLM session", 30, _WEIGHTS, "model.weights", ("cpu",)),
    StepKind("LLM engine check", 60, _WEIGHTS, "tensorrt", ("gpu",), optional=True),
    StepKind("logit bias", 20, _WEIGHTS, "model.weights", ("gpu", "gpu-llmapi")),
    StepKind("TensorRT-LLM import", 300, _MPI, "mpi", ("gpu", "gpu-llmapi")),
    StepKind("LLM weights", 120, f"{_WEIGHTS}; or: {_GPU}", "model.weights gpu", TORCH_PROFILES),
    StepKind("LLM kernels", 120, _GPU, "gpu", ("gpu-torch",), optional=True),
    StepKind("LLM graphs", 120, _GPU, "gpu", ("gpu-torch",)),
    StepKind("text warm-up", 60, _TEXT, "model.text"),
    StepKind("flow warm-up", 60, f"{_PROCESSOR}; on a GPU: {_GPU}", "machine gpu"),
    StepKind("flow graphs", 120, _GPU, "gpu", TORCH_PROFILES),
    StepKind("vocoder warm-up", 60, f"{_PROCESSOR}; on a GPU: {_GPU}", "machine gpu"),
    StepKind("LLM warm-up", 60, f"{_PROCESSOR}; on a GPU: {_GPU}", "machine gpu"),
    StepKind("speak", 60, f"{_PROCESSOR}; on a GPU: {_GPU}", "machine gpu"),
)
STEPS = {kind.name: kind for kind in _KINDS}


def steps_of(profile: str) -> list[StepKind]:
    """The steps that a profile may have, in the order of loading."""
    return [kind for kind in _KINDS if not kind.profiles or profile in kind.profiles]


def doctor_command(check: str, model_dir: Path | None = None, profile: str | None = None) -> str:
    """How to examine what a step depends on; None leaves a choice to the doctor."""
    model = f" --model {model_dir}" if model_dir else ""
    served = f" --profile {profile}" if profile else ""
    return f"tritone doctor --only {check}{model}{served}"
