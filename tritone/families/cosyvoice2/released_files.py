"""A released CosyVoice2 directory: what must be in it, and whether it arrived whole."""

from dataclasses import dataclass
from pathlib import Path

from tritone.checkpoints.verify import damage as file_problem
from tritone.errors import ModelDirectoryError

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
    return file_problem(path, DOWNLOAD_AGAIN)
