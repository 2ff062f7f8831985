"""What a model directory takes of main memory, by part. It needs no torch."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from tritone.errors import ModelDirectoryError
from tritone.families.indextts2.emotion_model_files import FOLDER, GRAPH
from tritone.loading.needs import Need
from tritone.plain_json import parse_json

# Files by the names that the modules have for them that read them, which import torch.
LLM = "language model"
CLONERS = "what reads recordings"
CLONING = (
    *("w2v_bert.safetensors", "semantic_codec.safetensors"),
    *("speaker_encoder.safetensors", "conditioning.safetensors"),
)
PARTS: Mapping[str, tuple[str, ...]] = {
    LLM: ("gpt.safetensors",),
    "prompt tables": ("prompter.safetensors",),
    CLONERS: CLONING,
    "flow": ("flow.safetensors",),
    "vocoder": ("vocoder.safetensors",),
}
WORKING = 3 << 29
"""Bytes beside the weights: five processes with their libraries, and one stream of speech."""

_SINGLE = 4  # bytes of a value of whatever is served in float32, however it is stored


def values(model_dir: Path) -> dict[str, int]:
    """Part -> how many values its weights have. Headers alone are read; raises ModelDirectoryError
    for a file that is missing or cut short."""
    # here, for the doctor imports this module where numpy may be broken
    from tritone.checkpoints.safetensors_file import Checkpoint

    return {
        part: sum(Checkpoint(model_dir / name).values for name in names)
        for part, names in PARTS.items()
        if part != CLONERS or all((model_dir / name).is_file() for name in names)
    }


def needs(model_dir: Path) -> Iterator[Need]:
    """Of a server, or of everything in one process, whose flow is in float32: in bfloat16, where
    the processor has units for it, it takes half."""
    for part, count in values(model_dir).items():
        size = (_graph(model_dir) if part == LLM else 0) or _SINGLE * count
        yield Need(part, size, _without_cloning(model_dir) if part == CLONERS else "")
    if count := _emotion_model(model_dir):
        yield Need("emotion model", count, _without_emotion_model(model_dir))
    yield Need("processes and a stream", WORKING)


def on_gpu(model_dir: Path) -> Iterator[tuple[str, int]]:
    """Bytes of all weights on a GPU: in float32, with the language model and the flow in half
    precision, and the latter without what reads recordings."""
    counts = values(model_dir)
    halves = 2 * (counts[LLM] + counts["flow"])
    single = _SINGLE * sum(counts.values())
    yield "float32", single
    yield "half", single - halves
    yield f"half without {CLONERS}", single - halves - _SINGLE * counts.get(CLONERS, 0)


def _graph(model_dir: Path) -> int:
    """Bytes of the largest graph of the language model; 0 where none was built."""
    graphs = (model_dir / "llm" / "onnx").glob("*.onnx.data")
    return max((graph.stat().st_size for graph in graphs), default=0)


def _emotion_model(model_dir: Path) -> int:
    """Bytes of its graph, as stored, and of the keys and values of the longest text. 0 where it is
    not loaded. Raises ModelDirectoryError for a file that is missing."""
    from tritone.config import CONFIG_NAME
    from tritone.families.indextts2.config import IndexTTS2Config

    path = model_dir / CONFIG_NAME
    config = IndexTTS2Config.of_content(parse_json(path), path).emotion_model
    if config is None or not (model_dir / FOLDER).is_dir():
        return 0
    for lacking in (model_dir / name for name in GRAPH if not (model_dir / name).is_file()):
        raise ModelDirectoryError(f"{lacking} does not exist; run tritone convert again")
    decoder = config.decoder
    position = 2 * decoder.num_hidden_layers * decoder.num_key_value_heads * decoder.head_dim
    cache = _SINGLE * position * decoder.max_position_embeddings
    return cache + sum((model_dir / name).stat().st_size for name in GRAPH)


def _without_cloning(model_dir: Path) -> str:
    return f"move {CLONING[0]} out of {model_dir}, and registered voices alone can speak"


def _without_emotion_model(model_dir: Path) -> str:
    return f"move {FOLDER} out of {model_dir}, and emotion_text is refused"
