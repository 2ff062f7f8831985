"""A released IndexTTS2 folder: what its files are called, and where upstream looks for them.

They come from five repositories; upstream keeps those of the others in `hf_cache`.
"""

from pathlib import Path

from tritone.checkpoints.verify import damage
from tritone.errors import ModelDirectoryError

YAML, PIECES, GLOSSARY = "config.yaml", "bpe.model", "glossary.yaml"
GPT, S2MEL, STATISTICS = "gpt.pth", "s2mel.pth", "wav2vec2bert_stats.pt"
EMOTION_STYLES, EMOTION_VECTORS = "feat1.pt", "feat2.pt"
EMOTION_MODEL = "qwen0.6bemo4-merge"  # a folder, which may be left out
W2V_BERT = "hf_cache/w2v-bert-2.0/model.safetensors"
W2V_BERT_NUMBERS = "hf_cache/w2v-bert-2.0/config.json"
CODEC = "hf_cache/semantic_codec_model.safetensors"
SPEAKER = "hf_cache/campplus_cn_common.bin"
BIGVGAN = "hf_cache/bigvgan/bigvgan_generator.pt"
BIGVGAN_NUMBERS = "hf_cache/bigvgan/config.json"

MARKS = (YAML, PIECES)
"""What tells such a folder from those of other families, however much of it is there."""

NEEDED = (
    *(YAML, PIECES, GPT, S2MEL, STATISTICS, EMOTION_STYLES, EMOTION_VECTORS),
    *(W2V_BERT, W2V_BERT_NUMBERS, CODEC, SPEAKER, BIGVGAN, BIGVGAN_NUMBERS),
)


def check_release(released: Path) -> None:
    """Raises ModelDirectoryError that lists every file that is missing or not whole."""
    advice = "tritone doctor --release indextts2=" + str(released) + " says how to fetch it"
    problems = [fault for name in NEEDED if (fault := damage(released / name, advice))]
    if problems:
        raise ModelDirectoryError(f"{released} cannot be converted: {'; '.join(problems)}")
