"""A released CosyVoice2 directory: what is in it, where it lies, and whether it arrived whole.

CosyVoice3's has the same parts, some under other names."""

from dataclasses import dataclass
from pathlib import Path

from tritone.checkpoints.release import Release, ReleaseFile, Repository
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
TOKENIZER_PARTS = ("vocab.json", "merges.txt", "tokenizer_config.json")  # below BASE_LLM
SPEECH_TOKENIZER = "speech_tokenizer_v2.onnx"
SPEAKER_ENCODER = "campplus.onnx"
VOICES = "spk2info.pt"
PHONEMES = "phoneme_pua.json"
# What a checkpoint of our own adds to upstream's files.
EXTRAS = "tritone.json"
LISTENER = "listener.onnx"

# The files that the converter reads: SHA-256, bytes and name, those of BASE_LLM first. From the
# file manifests of the public repositories ayutaz/vokra (tools/parity/cosyvoice2_inspect.py, which
# also has the Git blob ids) and znc15/VoxLink (src/VoxLink/Models/LocalModelCatalog.Manifests.cs),
# both for the Hugging Face revision below. The digest of each large file gives, as a Git LFS
# pointer, the blob id that the first one lists. sysou-com/Weaveora measured the same digests on
# llm.pt, flow.pt, hift.pt and the speech tokenizer as it got them from ModelScope.
BASE_MANIFEST = """\
168aa1bd401abc3bc262ba15ba4e499627a8b4e006e9d050b47c22de20660185 659 config.json
482bd979881423375ca5414e4e0d94cd7c5349dbb17fffd46b4d36d71e62a1bc 1287 tokenizer_config.json
ac8ff86a72bee70828fbc1119bc4398c6f3a9a6e490d7b0dbe917be025478bd0 1402109 merges.txt
ca10d7e9fb3ed18575dd1e277a2579c16d108e32f27439684afa0e10b1440910 2776833 vocab.json
"""
_MANIFEST = """\
0af2c0d010c477187c39f3e8fd5f1ae2e4e6f90ad03ba37c10ed6c6a87b05959 7330 cosyvoice2.yaml
a6ac6a63997761ae2997373e2ee1c47040854b4b759ea41ec48e4e42df0f4d73 28303423 campplus.onnx
3386cc880324d4e98e05987b99107f49e40ed925b8ecc87c1f4939432d429879 83390254 hift.pt
ff4c2f867674411e0a08cee702996df13fa67c1cd864c06108da88d16d088541 450575567 flow.pt
d43342aa12163a80bf07bffb94c9de2e120a8df2f9917cd2f642e7f4219c6f71 496082973 speech_tokenizer_v2.onnx
b144ef55b51ce8cfb79a73c90dbba0bdaba4e451c0ebcfab20f769264f84a608 2023316821 llm.pt
"""


def listed(manifest: str, folder: str = "") -> list[ReleaseFile]:
    """Of lines with SHA-256, bytes and name."""
    rows = (line.split() for line in manifest.splitlines())
    return [ReleaseFile(folder + name, int(size), digest) for digest, size, name in rows]


COSYVOICE2 = Release(
    name="CosyVoice2-0.5B",
    files=(*listed(BASE_MANIFEST, f"{BASE_LLM}/"), *listed(_MANIFEST)),
    repositories=(
        # No public source states the commit of ModelScope's present files (the two that are stated,
        # 9bd5b08f and 60b054e5, are of April 2025 and before): the digests above pin it instead,
        # and what the branch has now is compared with them before the first byte.
        Repository("modelscope", "iic/CosyVoice2-0.5B", "master"),
        Repository(
            "huggingface", "FunAudioLLM/CosyVoice2-0.5B", "eec1ae6c79877dbd9379285cf8789c9e0879293d"
        ),
    ),
)


@dataclass(frozen=True)
class Layout:
    """What the files of one generation are called. merged_llm: folders in which a merged language
    model may lie. again: what to do about a file that is damaged."""

    yaml: str
    speech_tokenizer: str
    merged_llm: tuple[str, ...]
    again: str


LAYOUT = Layout(YAML, SPEECH_TOKENIZER, ("cosyvoice2_llm", "llm"), DOWNLOAD_AGAIN)


@dataclass(frozen=True)
class Source:
    """The parts of one checkpoint. merged_llm takes the place of llm.pt where that is absent."""

    folder: Path
    merged_llm: Path | None
    layout: Layout

    def has(self, name: str) -> bool:
        return (self.folder / name).is_file()

    def inputs(self, *names: str) -> list[Path]:
        """Those of the named files that exist; a directory stands for the files in it."""
        found: list[Path] = []
        for name in names:
            path = self.folder / name
            found += sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
        return [path for path in found if path.is_file()]


def open_source(folder: Path, merged_llm: Path | None = None, layout: Layout = LAYOUT) -> Source:
    """Check a checkpoint directory before any work.

    Raises ModelDirectoryError that lists every missing, half-downloaded or pointer file, and a
    speech tokenizer of another generation.
    """
    if not folder.is_dir():
        raise ModelDirectoryError(f"{folder} is not a directory; {layout.again}")
    if merged_llm is None and not (folder / LLM).exists():
        places = [folder / name for name in layout.merged_llm]
        merged_llm = next((p for p in places if (p / "model.safetensors").is_file()), None)
    base, needed = folder / BASE_LLM, [folder / name for name in (layout.yaml, FLOW, HIFT)]
    if merged_llm is None:
        needed += [folder / LLM, base / "config.json"]
    else:
        needed += [merged_llm / "config.json", merged_llm / "model.safetensors"]
    if not (base / "tokenizer.json").is_file():
        needed += [base / name for name in TOKENIZER_PARTS]
    more = (layout.speech_tokenizer, SPEAKER_ENCODER, VOICES, PHONEMES, EXTRAS, LISTENER)
    optional = [folder / name for name in more]
    needed += [path for path in optional if path.exists()]
    problems = [problem for p in needed if (problem := file_problem(p, layout.again))]
    problems += _other_tokenizer(folder, layout)
    if problems:
        raise ModelDirectoryError(f"{folder} cannot be converted: {'; '.join(problems)}")
    return Source(folder, merged_llm, layout)


def _other_tokenizer(folder: Path, layout: Layout) -> list[str]:
    """What is wrong where a speech tokenizer of other codes lies in the place of ours."""
    found = sorted(path.name for path in folder.glob("speech_tokenizer*.onnx"))
    if not found or layout.speech_tokenizer in found:
        return []
    return [f"{', '.join(found)} in the place of {layout.speech_tokenizer}: {layout.again}"]
