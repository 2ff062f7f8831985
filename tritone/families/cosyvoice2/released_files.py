"""A released CosyVoice2 directory: what must be in it, and whether it arrived whole."""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

from tritone.errors import ModelDirectoryError

LFS_MARK = b"version https://git-lfs"
DOWNLOAD_AGAIN = (
    "download the checkpoint again (modelscope: iic/CosyVoice2-0.5B; "
    "Hugging Face: FunAudioLLM/CosyVoice2-0.5B)"
)

YAML = "cosyvoice2.yaml"
LLM = "llm.pt"
FLOW = "flow.pt"
HIFT = "hift.pt"
BASE_LLM = "CosyVoice-BlankEN"
SPEECH_TOKENIZER = "speech_tokenizer_v2.onnx"
SPEAKER_ENCODER = "campplus.onnx"
VOICES = "spk2info.pt"
PHONEMES = "phoneme_pua.json"
EXTRAS = "tritone.json"  # what a checkpoint of our own adds to upstream's files
MERGED_LLM_PLACES = ("cosyvoice2_llm", "llm")


@dataclass(frozen=True)
class Source:
    """The parts of one checkpoint. merged_llm takes the place of llm.pt where that is absent."""

    folder: Path
    merged_llm: Path | None

    def path(self, name: str) -> Path:
        return self.folder / name

    def has(self, name: str) -> bool:
        return (self.folder / name).is_file()

    def inputs(self, *names: str) -> list[Path]:
        """Those of the named files that exist; a directory stands for the files in it."""
        found: list[Path] = []
        for name in names:
            path = self.folder / name
            found += sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
        return [path for path in found if path.is_file()]


def open_source(folder: Path, merged_llm: Path | None = None) -> Source:
    """Check a checkpoint directory before any work.

    Raises ModelDirectoryError that lists every missing, half-downloaded or pointer file.
    """
    if not folder.is_dir():
        raise ModelDirectoryError(f"{folder} is not a directory; {DOWNLOAD_AGAIN}")
    if merged_llm is None and not (folder / LLM).exists():
        places = [folder / name for name in MERGED_LLM_PLACES]
        merged_llm = next((p for p in places if (p / "model.safetensors").is_file()), None)
    problems = [_problem(folder / name) for name in (YAML, FLOW, HIFT)]
    if merged_llm is None:
        problems.append(_problem(folder / LLM))
        problems.append(_problem(folder / BASE_LLM / "config.json"))
    else:
        problems += [_problem(merged_llm / name) for name in ("config.json", "model.safetensors")]
    if not (folder / BASE_LLM / "tokenizer.json").is_file():
        problems += [
            _problem(folder / BASE_LLM / name)
            for name in ("vocab.json", "merges.txt", "tokenizer_config.json")
        ]
    optional = [folder / n for n in (SPEECH_TOKENIZER, SPEAKER_ENCODER, VOICES, PHONEMES, EXTRAS)]
    problems += [_problem(path) for path in optional if path.exists()]
    found = [problem for problem in problems if problem]
    if found:
        raise ModelDirectoryError(f"{folder} cannot be converted: {'; '.join(found)}")
    return Source(folder, merged_llm)


def _problem(path: Path) -> str:
    """What is wrong with one file, with what to do; empty if nothing."""
    if not path.is_file():
        partial = sorted(p.name for p in path.parent.glob(f"{path.name}*") if p != path)
        seen = f" (only {', '.join(partial)}, an unfinished download)" if partial else ""
        return f"{path.name} is missing{seen}: {DOWNLOAD_AGAIN}"
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(64)
    if head.startswith(LFS_MARK):
        return (
            f"{path.name} is a Git LFS pointer of {size} bytes, not the file itself: "
            "run `git lfs pull` in the checkpoint directory"
        )
    if not size:
        return f"{path.name} is empty: {DOWNLOAD_AGAIN}"
    checks = {".pt": _pickle_problem, ".safetensors": _safetensors_problem, ".json": _json_problem}
    problem = checks.get(path.suffix, lambda _: "")(path)
    return f"{path.name} ({size} bytes) {problem}: {DOWNLOAD_AGAIN}" if problem else ""


def _pickle_problem(path: Path) -> str:
    # torch.save writes a zip, whose directory stands at its end.
    return "" if zipfile.is_zipfile(path) else "is cut off or no torch file"


def _safetensors_problem(path: Path) -> str:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(min(length, 100_000_000))
    try:
        tensors = json.loads(header)
        end = max(t["data_offsets"][1] for k, t in tensors.items() if k != "__metadata__")
    except (ValueError, KeyError, TypeError):
        return "has a damaged header"
    expected = 8 + length + int(end)
    return "" if path.stat().st_size == expected else f"is cut off; it should have {expected} bytes"


def _json_problem(path: Path) -> str:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        return f"is not valid JSON ({error})"
    return ""
