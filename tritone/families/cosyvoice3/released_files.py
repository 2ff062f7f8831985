"""A released CosyVoice3 directory: what its files are called, and where they lie."""

from tritone.checkpoints.release import Release, ReleaseFile, Repository
from tritone.families.cosyvoice2 import released_files as common
from tritone.families.cosyvoice2.released_files import Layout

YAML = "cosyvoice3.yaml"
SPEECH_TOKENIZER = "speech_tokenizer_v3.onnx"
NAME = "Fun-CosyVoice3-0.5B-2512"

LAYOUT = Layout(
    YAML,
    SPEECH_TOKENIZER,
    ("cosyvoice3_llm", "llm"),
    f"download the checkpoint again (ModelScope and Hugging Face: FunAudioLLM/{NAME})",
)

_READ = (
    *(f"{common.BASE_LLM}/{name}" for name in ("config.json", *common.TOKENIZER_PARTS)),
    *(YAML, common.SPEAKER_ENCODER, common.HIFT, common.FLOW, SPEECH_TOKENIZER, common.LLM),
)

# Apache-2.0. No public source states digests or commits of these files, so what a hub lists at the
# first download is recorded and holds from then on. The floating-point numbers of the weights take
# 2,025 MB (llm.pt), 1,329 MB (flow.pt) and 83 MB (hift.pt).
COSYVOICE3 = Release(
    name=NAME,
    files=tuple(ReleaseFile(name, 0, None) for name in _READ),
    repositories=(
        Repository("modelscope", f"FunAudioLLM/{NAME}", "master"),
        Repository("huggingface", f"FunAudioLLM/{NAME}", "main"),
    ),
    pinned=False,
)
