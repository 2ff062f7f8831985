"""The weight files of a model directory."""

from tritone.diagnostics.doctor.check import check
from tritone.diagnostics.doctor.checks.model.folder import convert, no_model
from tritone.diagnostics.doctor.file_faults import files_below, safetensors_fault
from tritone.diagnostics.doctor.finding import Finding, failure, passed
from tritone.diagnostics.doctor.target import Target

_VOICES = "voices"  # whose files are model.voices'


@check("model.weights", unless=no_model)
def weights(target: Target) -> Finding:
    """Whether each file of weights is whole; their data is not read."""
    folder = target.model_dir
    there = [
        path
        for path in files_below(folder)
        if path.suffix == ".safetensors" and path.parent != folder / _VOICES
    ]
    faults = [f"{path} {fault}" for path in there if (fault := safetensors_fault(path))]
    if faults:
        again = f"copy the file again, or convert again: {convert(target=folder)}"
        return failure("; ".join(faults), again)
    total = sum(path.stat().st_size for path in there)
    return passed(f"{len(there)} files of weights are whole; {total / 2**20:.0f} MiB")
