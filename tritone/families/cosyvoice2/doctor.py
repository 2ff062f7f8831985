"""The doctor's checks of a model directory of CosyVoice2 or CosyVoice3, whose parts are alike.

Loaded without the package around it, whose code needs torch: what it needs of that is imported in
processes of their own.
"""

import math
import sys
import time
import warnings
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tritone.diagnostics.doctor.check import Finding, check, failure, passed, skipped, warning
from tritone.diagnostics.doctor.checks.model import PROBE_S, convert, missing, no_model, probe
from tritone.diagnostics.doctor.file_faults import files_below
from tritone.diagnostics.doctor.target import Target
from tritone.errors import ModelDirectoryError

if TYPE_CHECKING:
    from tritone.checkpoints.release import Release

FAMILIES = ("cosyvoice2", "cosyvoice3")

# As the modules name them that read them, which import torch and ONNX Runtime.
WEIGHTS = ("flow.safetensors", "vocoder.safetensors", "llm/model.safetensors")
CLONING = ("speech_tokenizer.onnx", "speaker_encoder.onnx")

_CHECKSUM_S = 20.0

DATES = {"en": "Born on 3 Nov 2024.", "zh": "2024年11月3日。"}


def _not_ours(target: Target) -> str:
    """Why there is no model directory of these families to look at; empty if there is one."""
    if reason := no_model(target):
        return reason
    other = target.family not in ("", *FAMILIES)
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

    folder = target.model_dir
    if not folder.is_dir():
        return skipped(f"{folder} does not exist")
    release = _release_in(folder)
    try:
        record = read_record(folder)
    except ModelDirectoryError as error:
        return failure(str(error), _download(folder, release.name if release else ""))
    if record:
        name, expected = record.release, record.release_files()
    elif release is None:
        return skipped("no checksums are recorded here; model.weights compares sizes and shapes")
    elif not release.pinned:
        return skipped(f"no checksums of {release.name} are known; its download records them")
    else:
        name, expected = release.name, release.files
    began, problems, done = time.monotonic(), list[str](), 0
    for file in sorted(expected, key=lambda one: one.size):
        if time.monotonic() - began > _CHECKSUM_S / 2:
            break
        if problem := file_problem(folder / file.name, file):
            problems.append(f"{file.name} {problem}")
        done += 1
    all_of_them = _download(folder, name)
    if problems:
        return failure("; ".join(problems[:3]), all_of_them)
    if done < len(expected):
        text = f"{done} of {len(expected)} files are right; there was no time for the largest"
        return warning(text, f"{all_of_them} --offline")
    return passed(f"{done} files have the recorded SHA-256")


def _release_in(folder: Path) -> "Release | None":
    """The release that a folder holds, where nothing was converted into it."""
    from tritone.families import family_named

    if (folder / "config.json").is_file():
        return None
    families = (family_named(name) for name in FAMILIES)
    return next((family.releases[0] for family in families if family.recognises(folder)), None)


def _download(folder: Path, release: str) -> str:
    """The command that fetches a release into a folder; empty: the usual one."""
    return f"tritone download {f'--release {release} ' if release else ''}--dir {folder}"


def parameters(model_dir: str) -> dict[str, Any]:
    """In a process of its own: all weights against the modules that config.json describes.

    The modules are made on torch's meta device: nothing is allocated and no data is read.
    """
    import torch

    from tritone.families import open_model

    folder = Path(model_dir)
    model = open_model(folder)
    acoustics = import_module(f"tritone.families.{model.family.name}.acoustics")
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch: nothing is copied to this device, as is meant
        parts = {
            "flow": acoustics.load_network(folder, model.config),
            "vocoder": acoustics.load_hift(folder, model.config),
        }
    counts = {name: sum(t.numel() for t in part.parameters()) for name, part in parts.items()}
    return {**counts, "language model": _llm_parameters(folder, model.config.llm)}


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
    from tritone.families import open_model
    from tritone.families.cosyvoice2.reference import load_reader

    began, folder = time.monotonic(), Path(model_dir)
    model = open_model(folder)
    load_reader(folder, model.config.llm.speech_codes, model.family.voice)
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
    from tritone.families import open_model
    from tritone.families.cosyvoice2.text_tokenizer import load_tokenizer
    from tritone.frontend.text.normalize import TextNormalizer
    from tritone.frontend.text.pronounce import PHONEMES_NAME, load_pronouncer

    began, folder = time.monotonic(), Path(model_dir)
    config = open_model(folder).config
    tokenizer = load_tokenizer(folder, config.llm)
    if config.text.instruct_end:
        tokenizer.control_id(config.text.instruct_end)
    normalize = TextNormalizer()
    spoken = {language: normalize(date) for language, date in DATES.items()}
    english = spoken["en"]
    if getattr(config.text, "pronunciation", "none") != "none":
        english = load_pronouncer(folder / PHONEMES_NAME, tokenizer)(english).text
    ids = len(tokenizer.encode(english))
    return {"seconds": time.monotonic() - began, "spoken": spoken, "ids": ids}


CHECKS = (files, shapes, cloning, checksums, text)
