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

from tritone.diagnostics.doctor.check import Finding, check, failure, passed, skipped, warning
from tritone.diagnostics.doctor.checks.model import PROBE_S, convert, missing, no_model, probe
from tritone.diagnostics.doctor.file_faults import files_below
from tritone.diagnostics.doctor.target import Target
from tritone.errors import ModelDirectoryError

FAMILY = "cosyvoice2"
_RELEASED = ("cosyvoice2.yaml", "llm.pt", "flow.pt", "hift.pt")

# As the modules name them that read them, which import torch and ONNX Runtime.
WEIGHTS = ("flow.safetensors", "vocoder.safetensors", "llm/model.safetensors")
CLONING = ("speech_tokenizer.onnx", "speaker_encoder.onnx")

_CHECKSUM_S = 20.0

DATES = {"en": "Born on 3 Nov 2024.", "zh": "2024年11月3日。"}


def _not_ours(target: Target) -> str:
    """Why there is no model directory of this family to look at; empty if there is one."""
    if reason := no_model(target):
        return reason
    other = target.family not in ("", FAMILY)
    return f"{target.model_dir} is of the family {target.family}" if other else ""


@check("model.files", unless=_not_ours)
def files(target: Target) -> Finding:
    """Every file that loading needs, and the two without which no voice can be cloned."""
    from tritone.frontend.text.tokenizer import TOKENIZER_NAME

    folder = target.model_dir
    needed = [TOKENIZER_NAME, *WEIGHTS]
    text = target.section.get("text")
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
        without = "this model directory cannot clone voices"
        return skipped(f"{without}: model.files names what is missing")
    again = f"copy {' and '.join(CLONING)} again, or convert again: {convert(target=folder)}"
    answer = probe(opened, folder, again)
    if isinstance(answer, Finding):
        return answer
    return passed(f"{' and '.join(CLONING)} open in {answer['seconds']:.1f} s")


@check(
    "model.checksums",
    limit_s=_CHECKSUM_S,
    when_late="verify without a limit: tritone download --offline --dir RELEASE_DIR",
)
def checksums(target: Target) -> Finding:
    """Every file against its recorded SHA-256, as far as the time goes."""
    from tritone.checkpoints.release import read_record
    from tritone.checkpoints.verify import file_problem
    from tritone.families.cosyvoice2.released_files import COSYVOICE2

    folder = target.model_dir
    if not folder.is_dir():
        return skipped(f"{folder} does not exist")
    try:
        record = read_record(folder)
    except ModelDirectoryError as error:
        return failure(str(error), f"tritone download --dir {folder}")
    converted = (folder / "config.json").is_file()
    if record is None and (converted or len(missing(folder, _RELEASED)) == len(_RELEASED)):
        return skipped("no checksums are recorded here; model.weights compares sizes and shapes")
    expected = record.release_files() if record else COSYVOICE2.files
    began, problems, done = time.monotonic(), list[str](), 0
    for file in sorted(expected, key=lambda one: one.size):
        if time.monotonic() - began > _CHECKSUM_S / 2:
            break
        if problem := file_problem(folder / file.name, file):
            problems.append(f"{file.name} {problem}")
        done += 1
    all_of_them = f"tritone download --dir {folder}"
    if problems:
        return failure("; ".join(problems[:3]), all_of_them)
    if done < len(expected):
        text = f"{done} of {len(expected)} files are right; there was no time for the largest"
        return warning(text, f"{all_of_them} --offline")
    return passed(f"{done} files have the recorded SHA-256")


def parameters(model_dir: str) -> dict[str, Any]:
    """In a process of its own: all weights against the modules that config.json describes.

    The modules are made on torch's meta device: nothing is allocated and no data is read.
    """
    import torch

    from tritone.families.cosyvoice2.acoustics import load_hift, load_network
    from tritone.families.cosyvoice2.config import CosyVoice2Config

    folder = Path(model_dir)
    config = CosyVoice2Config.read(folder)
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch: nothing is copied to this device, as is meant
        parts = {"flow": load_network(folder, config), "vocoder": load_hift(folder, config)}
    counts = {name: sum(t.numel() for t in part.parameters()) for name, part in parts.items()}
    return {**counts, "language model": _llm_parameters(folder, config.llm)}


def _llm_parameters(folder: Path, llm: Any) -> int:
    from tritone.checkpoints.safetensors_file import Checkpoint
    from tritone.llm import checkpoint as names

    hidden, head = llm.hidden_size, (llm.vocab_size, llm.hidden_size)
    heads = llm.num_attention_heads, llm.num_key_value_heads
    layer = names.layer_shapes(hidden, llm.intermediate_size, *heads)
    expected = {names.EMBEDDING: head, names.HEAD: head, names.FINAL_NORM: (hidden,)}
    expected[names.HEAD_BIAS] = (llm.vocab_size,)
    for index in range(llm.num_hidden_layers):
        expected |= {names.layer_name(index, part): shape for part, shape in layer.items()}
    weights = Checkpoint(folder / names.LLM_DIR / names.WEIGHTS_NAME)
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
    from tritone.families.cosyvoice2.config import CosyVoice2Config
    from tritone.families.cosyvoice2.reference import load_reader

    began, folder = time.monotonic(), Path(model_dir)
    load_reader(folder, CosyVoice2Config.read(folder).llm.speech_codes)
    return {"seconds": time.monotonic() - began}


@check("model.text", unless=_not_ours, limit_s=PROBE_S + 5)
def text(target: Target) -> Finding:
    """Whether text becomes tokens: tokenizer, phonemes, and the rules that read out numbers."""
    folder = target.model_dir
    again = f"copy tokenizer.json and phonemes.json again, or: {convert(target=folder)}"
    answer = probe(spoken_date, folder, again)
    if isinstance(answer, Finding):
        return answer
    left = [spoken for spoken in answer["spoken"].values() if any(c.isdigit() for c in spoken)]
    if left or not answer["ids"]:
        fix = f"install the rules again: {sys.executable} -m pip install --force-reinstall wetext"
        return failure(f"{' '.join(DATES.values())} is read as {left or 'nothing'}", fix)
    read = f"{DATES['en']!r} is read as {answer['spoken']['en']!r}"
    return passed(f"tokenizer and rules load in {answer['seconds']:.1f} s; {read}")


def spoken_date(model_dir: str) -> dict[str, Any]:
    """In a process of its own: tokenizer, phonemes and rules, tried on a date in two languages."""
    from tritone.families.cosyvoice2.config import CosyVoice2Config
    from tritone.frontend.text.normalize import TextNormalizer
    from tritone.frontend.text.pronounce import PHONEMES_NAME, load_pronouncer
    from tritone.frontend.text.tokenizer import TOKENIZER_NAME, TextTokenizer

    began, folder = time.monotonic(), Path(model_dir)
    config = CosyVoice2Config.read(folder)
    tokenizer = TextTokenizer(folder / TOKENIZER_NAME)
    if tokenizer.size > config.llm.speech_offset:
        raise ModelDirectoryError(
            f"{TOKENIZER_NAME} has {tokenizer.size} ids, but in config.json speech starts at "
            f"{config.llm.speech_offset}: files of two checkpoints are mixed"
        )
    if config.text.instruct_end:
        tokenizer.control_id(config.text.instruct_end)
    normalize = TextNormalizer()
    spoken = {language: normalize(date) for language, date in DATES.items()}
    english = spoken["en"]
    if config.text.pronunciation == "hibari":
        english = load_pronouncer(folder / PHONEMES_NAME, tokenizer)(english).text
    ids = len(tokenizer.encode(english))
    return {"seconds": time.monotonic() - began, "spoken": spoken, "ids": ids}


CHECKS = (files, shapes, cloning, checksums, text)
