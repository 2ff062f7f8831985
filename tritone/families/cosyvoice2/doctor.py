"""The doctor's checks of a model directory of this family.

Loaded without the package around it, whose code needs torch: what it needs of that is imported in
processes of their own.
"""

import math
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from tritone.diagnostics.doctor.check import check, checks_in
from tritone.diagnostics.doctor.checks.model.folder import convert, missing, no_model
from tritone.diagnostics.doctor.checks.model.probe import PROBE_S, probe
from tritone.diagnostics.doctor.file_faults import files_below
from tritone.diagnostics.doctor.finding import Finding, failure, passed, skipped, warning
from tritone.diagnostics.doctor.target import Target
from tritone.errors import ModelDirectoryError

FAMILY = "cosyvoice2"
RELEASED = ("cosyvoice2.yaml", "llm.pt", "flow.pt", "hift.pt")

# As the modules name them that read them, which import torch and ONNX Runtime.
WEIGHTS = ("flow.safetensors", "vocoder.safetensors", "llm/model.safetensors")
CLONING = ("speech_tokenizer.onnx", "speaker_encoder.onnx")

_CHECKSUM_S = 20.0


def _not_ours(target: Target) -> str:
    """Why there is no model directory of this family to look at; empty if there is one."""
    if reason := no_model(target):
        return reason
    other = target.family not in ("", FAMILY)
    return f"{target.model_dir} is of the family {target.family}" if other else ""


def _is_release(folder: Path) -> bool:
    """Whether it holds files as they are released, and no converted ones."""
    return len(missing(folder, RELEASED)) < len(RELEASED) and bool(missing(folder, ["config.json"]))


@check("model.files", unless=_not_ours)
def files(target: Target) -> Finding:
    """Every file that loading needs, and the two without which no voice can be cloned."""
    from tritone.frontend.text.tokenizer import TOKENIZER_NAME

    folder = target.model_dir
    needed = [TOKENIZER_NAME, *WEIGHTS]
    text = target.config.get("text")
    if isinstance(text, dict) and text.get("pronunciation", "none") != "none":
        needed.append("phonemes.json")
    again = f"copy the whole directory again, or convert again: {convert(target=folder)}"
    if lacking := missing(folder, needed):
        return failure(f"{folder} lacks {', '.join(lacking)}", again)
    if for_cloning := missing(folder, CLONING):
        if not any((folder / "voices").glob("*.safetensors")):
            return failure("no voice is registered, and none can be cloned", again)
        lost = f"{folder} lacks {' and '.join(for_cloning)}: registered voices alone can speak"
        return warning(lost, again)
    total = sum(path.stat().st_size for path in files_below(folder))
    return passed(f"all {len(needed) + 3} files that loading reads; {total / 2**20:.0f} MiB in all")


@check("model.shapes", unless=_not_ours, limit_s=PROBE_S + 5)
def shapes(target: Target) -> Finding:
    """Whether all names and shapes of the weights are what config.json says."""
    folder = target.model_dir
    if missing(folder, WEIGHTS):
        return skipped("a weight file is missing: model.files names it")
    again = f"copy the file again, or convert again: {convert(target=folder)}"
    answer = probe(parameters, folder, again)
    if isinstance(answer, Finding):
        return answer
    parts = ", ".join(f"{name} {count / 1e6:.2f}" for name, count in answer.items())
    return passed(f"every name and shape fits; millions of parameters: {parts}")


@check("model.cloning", unless=_not_ours, limit_s=PROBE_S + 5)
def cloning(target: Target) -> Finding:
    """Whether the two models that read a reference recording open."""
    folder = target.model_dir
    if missing(folder, CLONING):
        return skipped(
            "this model directory cannot clone voices: model.files names what is missing"
        )
    again = f"copy {' and '.join(CLONING)} again, or convert again: {convert(target=folder)}"
    answer = probe(opened, folder, again)
    if isinstance(answer, Finding):
        return answer
    return passed(f"{' and '.join(CLONING)} open in {answer['seconds']:.1f} s")


@check(
    "model.checksums",
    limit_s=_CHECKSUM_S,
    when_late="verify without a limit: python scripts/download.py --offline --dir RELEASE_DIR",
)
def checksums(target: Target) -> Finding:
    """Every file against its recorded SHA-256, as far as the time goes."""
    from tritone.checkpoints.download_record import read_record
    from tritone.checkpoints.verify import file_problem
    from tritone.families.cosyvoice2.release import COSYVOICE2

    folder = target.model_dir
    if not folder.is_dir():
        return skipped(f"{folder} does not exist")
    try:
        record = read_record(folder)
    except ModelDirectoryError as error:
        return failure(str(error), f"python scripts/download.py --dir {folder}")
    if record is None and not _is_release(folder):
        return skipped("no checksums are recorded here; model.weights compares sizes and shapes")
    expected = record.release_files() if record else COSYVOICE2.files
    began, problems, done = time.monotonic(), list[str](), 0
    for file in sorted(expected, key=lambda one: one.size):
        if time.monotonic() - began > _CHECKSUM_S / 2:
            break
        if problem := file_problem(folder / file.name, file):
            problems.append(f"{file.name} {problem}")
        done += 1
    all_of_them = f"python scripts/download.py --dir {folder}"
    if problems:
        return failure("; ".join(problems[:3]), all_of_them)
    if done < len(expected):
        return warning(
            f"{done} of {len(expected)} files are right; there was no time for the largest",
            f"{all_of_them} --offline",
        )
    return passed(f"{done} files have the recorded SHA-256")


def parameters(model_dir: str) -> dict[str, Any]:
    """In a process of its own: all weights against the modules that config.json describes.

    The modules are made on torch's meta device: nothing is allocated and no data is read.
    """
    import torch

    from tritone.families import family_of

    folder = Path(model_dir)
    family, config = family_of(folder)
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch: nothing is copied to this device, as is meant
        parts = {
            "flow": family.load_flow(folder, config),
            "vocoder": family.load_vocoder(folder, config),
        }
    counts = {
        name: sum(tensor.numel() for tensor in part.parameters()) for name, part in parts.items()
    }
    return {**counts, "language model": _llm_parameters(folder, config.llm)}


def _llm_parameters(folder: Path, llm: Any) -> int:
    from tritone.llm import checkpoint as names

    head = (llm.vocab_size, llm.hidden_size)
    layer = names.layer_shapes(
        llm.hidden_size,
        llm.intermediate_size,
        llm.num_attention_heads,
        llm.num_key_value_heads,
    )
    expected = {names.EMBEDDING: head, names.HEAD: head, names.FINAL_NORM: (llm.hidden_size,)}
    expected[names.HEAD_BIAS] = (llm.vocab_size,)
    for index in range(llm.num_hidden_layers):
        expected |= {names.layer_name(index, part): shape for part, shape in layer.items()}
    weights = names.Checkpoint(folder / names.LLM_DIR / names.WEIGHTS_NAME)
    stored = {name: weights.spec(name).shape for name in weights}
    misfits = [
        f"{name} is {list(stored[name]) if name in stored else 'missing'} where the configuration "
        f"wants {list(shape)}"
        for name, shape in expected.items()
        if stored.get(name) != shape
    ]
    if misfits:
        raise ModelDirectoryError(f"{weights.path}: {'; '.join(misfits[:3])}")
    return sum(math.prod(shape) for shape in expected.values())


def opened(model_dir: str) -> dict[str, Any]:
    """In a process of its own: the two models that read a reference recording, opened."""
    from tritone.families import read_config
    from tritone.families.cosyvoice2.reference import load_reader

    began, folder = time.monotonic(), Path(model_dir)
    load_reader(folder, read_config(folder).llm.speech_codes)
    return {"seconds": time.monotonic() - began}


CHECKS = checks_in(sys.modules[__name__])
