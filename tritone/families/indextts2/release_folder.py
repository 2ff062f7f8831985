"""A folder of IndexTTS2's released files: what upstream reads from it, in the order of loading.

Steps are numbered as upstream's constructor goes: 1 auxiliary models (downloads), 2 config.yaml,
3 the emotion model, 4 GPT, 5 DeepSpeed, 6 the vocoder's CUDA kernel, 7 w2v-bert, 8 its statistics,
9 semantic codec, 10 s2mel, 12 speaker encoder, 13 BigVGAN, 14 text normaliser, 15 tokenizer and
emotion matrices.
"""

import json
import os
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

from tritone import resources
from tritone.diagnostics.doctor import file_faults
from tritone.diagnostics.doctor.check import Finding, check, failure, passed, skipped, warning
from tritone.diagnostics.doctor.file_faults import lfs_pointers, safetensors_fault
from tritone.diagnostics.doctor.target import Target

FAMILY = "indextts2"
W2V_BERT = "hf_cache/w2v-bert-2.0"
W2V_BERT_REPOSITORY = "facebook/w2v-bert-2.0"
_BIGVGAN = "nvidia/bigvgan_v2_22khz_80band_256x"
_CONFORMER_BYTES = 2_330_000_000  # conformer_shaw.pt, which no step reads but a snapshot brings
_SMALL = 2**20  # below this many bytes a file may have been edited to any size
_LEAST = 0.4  # of the released size; weights saved again in float16 have half
_ZIP = b"PK\x03\x04"  # how torch.save begins since torch 1.6
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


@dataclass(frozen=True)
class Part:
    """A file that loading reads. size: bytes, as released. repository: its name on the hubs."""

    step: int
    file: str
    size: int
    repository: str = "IndexTeam/IndexTTS-2"

    def __str__(self) -> str:
        size = f" ({megabytes(self.size)})" if self.size >= _SMALL else ""
        return f"step {self.step}: {self.file}{size}"


# Sizes at the revisions 740dcaff (IndexTTS-2), da985ba0 (w2v-bert-2.0), 265c6cef (MaskGCT),
# e4b6ede7 (campplus) and 633ff708 (BigVGAN), as public download manifests list them.
RELEASED = (
    Part(2, "config.yaml", 2_882),
    Part(3, "qwen0.6bemo4-merge/config.json", 727),
    Part(3, "qwen0.6bemo4-merge/model.safetensors", 1_192_135_096),
    Part(3, "qwen0.6bemo4-merge/tokenizer.json", 11_422_654),
    Part(3, "qwen0.6bemo4-merge/tokenizer_config.json", 5_433),
    Part(4, "gpt.pth", 3_484_663_079),
    Part(8, "wav2vec2bert_stats.pt", 9_343),
    Part(10, "s2mel.pth", 1_202_198_223),
    Part(15, "bpe.model", 475_997),
    Part(15, "feat1.pt", 57_170),
    Part(15, "feat2.pt", 374_866),
)
AUXILIARY = (
    Part(7, f"{W2V_BERT}/config.json", 1_874, W2V_BERT_REPOSITORY),
    Part(7, f"{W2V_BERT}/preprocessor_config.json", 275, W2V_BERT_REPOSITORY),
    Part(7, f"{W2V_BERT}/model.safetensors", 2_322_063_736, W2V_BERT_REPOSITORY),
    Part(9, "hf_cache/semantic_codec_model.safetensors", 177_183_712, "amphion/MaskGCT"),
    Part(12, "hf_cache/campplus_cn_common.bin", 28_036_335, "funasr/campplus"),
    Part(13, "hf_cache/bigvgan/config.json", 1_405, _BIGVGAN),
    Part(13, "hf_cache/bigvgan/bigvgan_generator.pt", 449_228_171, _BIGVGAN),
)
W2V_BERT_PARTS = [part for part in AUXILIARY if part.repository == W2V_BERT_REPOSITORY]


def not_named(target: Target) -> str:
    named = FAMILY in target.releases
    return "" if named else "no IndexTTS2 folder is named (--release indextts2=DIR)"


def no_folder(target: Target) -> str:
    """Why there is no folder of the release to look at; empty where there is one."""
    if why := not_named(target):
        return why
    folder = target.releases[FAMILY]
    return "" if folder.is_dir() else f"{folder} does not exist: indextts2.files says more"


@check("indextts2.files", unless=not_named)
def files(target: Target) -> Finding:
    """The release's own files, step by step, and whether their sizes are of the released order."""
    folder = target.releases[FAMILY]
    if not folder.is_dir():
        return failure(f"{folder} does not exist", "name the release: --release indextts2=DIR")
    missing = [part for part in RELEASED if not (folder / part.file).is_file()]
    if missing:
        return failure(f"missing: {'; '.join(map(str, missing))}", fetch(folder, missing))
    sizes = {part: (folder / part.file).stat().st_size for part in RELEASED}
    small = [part for part in RELEASED if part.size > _SMALL and sizes[part] < _LEAST * part.size]
    if small:
        facts = "; ".join(f"{part} has {megabytes(sizes[part])}" for part in small)
        return failure(f"too small: {facts}", fetch(folder, small))
    return passed(f"all {len(RELEASED)} files of the release, {megabytes(sum(sizes.values()))}")


@check("indextts2.downloads", unless=no_folder)
def downloads(target: Target) -> Finding:
    """What step 1 would fetch before anything is loaded."""
    folder = target.releases[FAMILY]
    lacking = [part for part in AUXILIARY if not (folder / part.file).is_file()]
    if _counts_as_there(folder):  # indextts2.w2v_bert looks at what is in it
        lacking = [part for part in lacking if part.repository != W2V_BERT_REPOSITORY]
    wanted = [part for part in lacking if not _in_old_cache(folder, part.repository)]
    if not wanted:
        copied = f"; {len(lacking)} files are copied from a hub's cache" if lacking else ""
        return passed(f"step 1 has nothing to download{copied}")
    size, whole = sum(part.size for part in wanted), ""
    if any(part.repository == W2V_BERT_REPOSITORY for part in wanted):
        size += _CONFORMER_BYTES
        whole = f"; upstream takes the whole repository {W2V_BERT_REPOSITORY}"
    facts = f"step 1 would download {megabytes(size)}: {'; '.join(map(str, wanted))}{whole}"
    advice = f"{fetch(folder, wanted)}; then the doctor again"
    offline = [name for name in _OFFLINE if os.environ.get(name, "0") not in ("", "0")]
    if offline:
        return failure(f"{facts}; but {offline[0]} forbids downloads", advice)
    free = shutil.disk_usage(folder).free
    if free < size:
        full = f"{facts}; the disk has {megabytes(free)} free"
        return failure(full, f"make room, then: {advice}")
    return warning(facts, advice)


@check("indextts2.w2v_bert", unless=no_folder)
def w2v_bert(target: Target) -> Finding:
    """Whether w2v-bert is whole: upstream asks only whether its folder is there and not empty."""
    folder = target.releases[FAMILY]
    if not _counts_as_there(folder):
        return skipped(f"{W2V_BERT} is not there yet: indextts2.downloads says more")
    if not (fault := w2v_bert_fault(folder)):
        return passed(f"{W2V_BERT} is whole")
    taken = "upstream takes it for downloaded, because it is not empty, and step 7 breaks"
    return failure(f"{W2V_BERT} {fault}; {taken}", fetch(folder, W2V_BERT_PARTS))


def w2v_bert_fault(folder: Path) -> str:
    """What is wrong with a folder of w2v-bert that is there; empty if nothing."""
    missing = [Path(p.file).name for p in W2V_BERT_PARTS if not (folder / p.file).is_file()]
    if missing:
        return f"is half filled: it lacks {', '.join(missing)}"
    weights = folder / W2V_BERT_PARTS[-1].file
    fault = safetensors_fault(weights)
    return f"is half filled: {weights.name} {fault}" if fault else ""


@check("indextts2.truncated", unless=no_folder, limit_s=20)
def truncated(target: Target) -> Finding:
    """Files that are there but not whole; upstream tests none of them."""
    folder = target.releases[FAMILY]
    there = [part for part in (*RELEASED, *AUXILIARY) if (folder / part.file).is_file()]
    pointers = lfs_pointers(folder / part.file for part in there)
    whole = [part for part in there if folder / part.file not in pointers]
    faults = {part: fault for part in whole if (fault := _fault(folder / part.file, part.size))}
    if faults:
        facts = "; ".join(f"{part.file} {fault}" for part, fault in faults.items())
        return failure(facts, fetch(folder, list(faults)))
    return file_faults.unfinished(folder) or passed(f"{len(whole)} files end where they should")


@check("indextts2.lfs", unless=no_folder)
def lfs(target: Target) -> Finding:
    return file_faults.lfs(target.releases[FAMILY])


def megabytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def fetch(folder: Path, parts: list[Part]) -> str:
    """The command that brings the first of the parts; the hub's clients skip what is whole."""
    first = parts[0]
    hub = f"hf download {first.repository}"
    if first.repository == W2V_BERT_REPOSITORY:
        wanted = " ".join(Path(part.file).name for part in W2V_BERT_PARTS)
        return f"{hub} {wanted} --force-download --local-dir {folder / W2V_BERT}"
    if first.repository == RELEASED[0].repository:
        other = f"modelscope download --model {first.repository} --local_dir {folder}"
        return f"{hub} --local-dir {folder}; or: {other}"
    return f"delete {folder / first.file} if it is there, and let step 1 fetch it again"


def _counts_as_there(folder: Path) -> bool:
    """Upstream's own test of the w2v-bert folder."""
    place = folder / W2V_BERT
    return place.is_dir() and any(place.iterdir())


def _in_old_cache(folder: Path, repository: str) -> bool:
    """Whether step 1 would copy it from a cache in huggingface_hub's layout."""
    home = resources.home() / ".cache" / "huggingface" / "hub"
    caches = (folder / "hf_cache", Path(os.environ.get("HF_HUB_CACHE", home)))
    name = f"models--{repository.replace('/', '--')}/snapshots/*/*"
    return any(any(cache.glob(name)) for cache in caches)


def _fault(path: Path, released: int) -> str:
    if not path.stat().st_size:
        return "has zero bytes"
    if path.suffix == ".safetensors":
        return safetensors_fault(path)
    if path.suffix in (".pth", ".pt", ".bin"):
        return _torch_fault(path, released)
    if path.suffix == ".json":
        try:
            json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            return f"is no valid JSON: {error}"
    return ""


def _torch_fault(path: Path, released: int) -> str:
    """Why a file of torch.save is not whole; empty if nothing shows.

    It is a zip, whose directory stands at its end; one of torch before 1.6 is not, and is compared
    with the size that was released, in bytes.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        is_zip = file.read(len(_ZIP)) == _ZIP
    if is_zip and not zipfile.is_zipfile(path):
        return f"is cut short: {size} bytes, and the directory at a torch file's end is missing"
    if not is_zip and size < released:
        return f"is cut short or no torch file: {size} bytes, {released} were released"
    return ""
