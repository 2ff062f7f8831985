"""Where the files of IndexTTS2 are downloaded from: five repositories, one folder.

Sizes are those that the doctor knows. The digests of the large files, and of all that lies in
`hf_cache`, are stated alike by several public download manifests for the commits below; of the
others none is public, so what a hub lists at the first download is recorded and holds ever after.
Where ModelScope has a repository, its branch is compared with what is known here.
"""

from tritone.checkpoints.release import Release, ReleaseFile, Repository
from tritone.families.indextts2.release_folder import AUXILIARY, RELEASED, Part

NAME = "IndexTTS-2"

_DIGESTS = {
    "gpt.pth": "baaaeb8b56328da81731dc540a85a7dee32eca9da28f174b05757cb651c602a4",
    "s2mel.pth": "aae1bb12017cbb47e7a5ce537fc82f40b6b1deb71acdb9b8f25686f32714b636",
    "qwen0.6bemo4-merge/model.safetensors": (
        "11293257a8df593c154a8ecd5fc039f3076de35411e35f06d41b471e136f6641"
    ),
    "hf_cache/w2v-bert-2.0/config.json": (
        "f5572bd5998b68182e9c328a43127ed21fed687f6910497136b91a4e3b0e3675"
    ),
    "hf_cache/w2v-bert-2.0/preprocessor_config.json": (
        "8e6281aad64f97e40534135a59dcc5d33571efae376f2a25adf5551951897ab4"
    ),
    "hf_cache/w2v-bert-2.0/model.safetensors": (
        "eb890c9660ed6e3414b6812e27257b8ce5454365d5490d3ad581ea60b93be043"
    ),
    "hf_cache/semantic_codec_model.safetensors": (
        "ec947271175d8cad75ec37e83aa487e27c97a0f72a303393772da5ffa84bddf2"
    ),
    "hf_cache/campplus_cn_common.bin": (
        "3388cf5fd3493c9ac9c69851d8e7a8badcfb4f3dc631020c4961371646d5ada8"
    ),
    "hf_cache/bigvgan/config.json": (
        "88a1f47acf747db0b21e97a389d838566147f7a5464583ff5c8d819d870f03ee"
    ),
    "hf_cache/bigvgan/bigvgan_generator.pt": (
        "e95ba25972d3de0628d99cd156e9315a9c018899bf739988959ebe3544080ced"
    ),
}
_COMMITS = {
    "IndexTeam/IndexTTS-2": "740dcaff396282ffb241903d150ac011cd4b1ede",
    "facebook/w2v-bert-2.0": "da985ba0987f70aaeb84a80f2851cfac8c697a7b",
    "amphion/MaskGCT": "265c6cef07625665d0c28d2faafb1415562379dc",
    "funasr/campplus": "e4b6ede7ce16997aff4ae69fbca1f0175e2afede",
    "nvidia/bigvgan_v2_22khz_80band_256x": "633ff708ed5b74903e86ff1298cf4a98e921c513",
}
_ON_MODELSCOPE = {
    "IndexTeam/IndexTTS-2": "IndexTeam/IndexTTS-2",
    "facebook/w2v-bert-2.0": "AI-ModelScope/w2v-bert-2.0",
    "funasr/campplus": "iic/speech_campplus_sv_zh-cn_16k-common",
}
_MAIN = "IndexTeam/IndexTTS-2"
_CODEC_THERE = "semantic_codec/model.safetensors"
_BESIDE = {
    "qwen0.6bemo4-merge/generation_config.json": 117,
    "qwen0.6bemo4-merge/chat_template.jinja": 550,
    "LICENSE.txt": 0,
    "LICENSE_ZH.txt": 0,
}
"""What no step of upstream's loading has a line for: bytes, 0 where nobody states them."""


def _remote(part: Part) -> str:
    """What a file is called in its own repository, where upstream's folder calls it otherwise."""
    if part.repository == _MAIN:
        return ""
    name = part.file.rpartition("/")[2]
    return _CODEC_THERE if name == "semantic_codec_model.safetensors" else name


INDEXTTS2 = Release(
    NAME,
    files=(
        *(ReleaseFile(name, size, None, _MAIN) for name, size in _BESIDE.items()),
        *(
            ReleaseFile(p.file, p.size, _DIGESTS.get(p.file), p.repository, _remote(p))
            for p in (*RELEASED, *AUXILIARY)
        ),
    ),
    repositories=(
        *(
            Repository("modelscope", there, "master", part)
            for part, there in _ON_MODELSCOPE.items()
        ),
        *(Repository("huggingface", part, commit, part) for part, commit in _COMMITS.items()),
    ),
    pinned=False,
)
