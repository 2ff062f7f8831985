"""What a model directory takes of main memory, by part. It needs no torch."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tritone.errors import ModelDirectoryError
from tritone.families.indextts2.emotion_model_files import FOLDER, GRAPH
from tritone.loading.needs import Need
from tritone.plain_json import parse_json

if TYPE_CHECKING:
    from tritone.families.indextts2.config import IndexTTS2Config

# Files by the names that the modules have for them that read them, which import torch.
LLM = "language model"
FLOW, VOCODER = "flow", "vocoder"
ON_GPU = (LLM, FLOW, VOCODER)
CLONERS = "what reads recordings"
CLONING = (
    *("w2v_bert.safetensors", "semantic_codec.safetensors"),
    *("speaker_encoder.safetensors", "conditioning.safetensors"),
)
PARTS: Mapping[str, tuple[str, ...]] = {
    LLM: ("gpt.safetensors",),
    "prompt tables": ("prompter.safetensors",),
    CLONERS: CLONING,
    FLOW: ("flow.safetensors",),
    VOCODER: ("vocoder.safetensors",),
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


def needs(model_dir: Path, precision: str | None, *, elsewhere: bool = False) -> Iterator[Need]:
    """Of a server, or of everything in one process, whose flow is in float32: in bfloat16, where
    the processor has units for it, it takes half.

    precision: of the language model's graph; None where language model, flow and vocoder are on a
    GPU, to which each goes by way of main memory. elsewhere: whether another server has the
    language model."""
    sizes = {part: _SINGLE * count for part, count in values(model_dir).items()}
    if elsewhere:
        del sizes[LLM]
    if precision is None:
        moved = [sizes.pop(part) for part in ON_GPU if part in sizes]
        yield Need("weights on their way to the GPU", max(moved))
    elif not elsewhere:
        sizes[LLM] = _graph(model_dir, precision) or sizes[LLM]
    for part, size in sizes.items():
        yield Need(part, size, _without_cloning(model_dir) if part == CLONERS else "")
    if count := _emotion_model(model_dir):
        yield Need("emotion model", count, _without_emotion_model(model_dir))
    yield Need("processes and a stream", WORKING)


def on_gpu(model_dir: Path) -> Iterator[tuple[str, int]]:
    """Bytes of the weights that a GPU holds: with the language model and the flow in bfloat16, as
    gpu-torch has them, and in float32."""
    counts = values(model_dir)
    single = _SINGLE * sum(counts[part] for part in ON_GPU)
    yield "bfloat16", single - _SINGLE // 2 * (counts[LLM] + counts[FLOW])
    yield "float32", single


def _graph(model_dir: Path, precision: str) -> int:
    """Bytes of the language model's graph, where its runtime finds it; 0 where none was built."""
    from tritone.llm.checkpoint import LLM_DIR
    from tritone.llm.onnx.graph_files import checkpoint_key, graph_places

    (weights,) = PARTS[LLM]
    key = checkpoint_key(model_dir / weights, _config(model_dir).gpt)
    for graph in graph_places(model_dir / LLM_DIR, precision, key):
        if (data := Path(f"{graph}.data")).is_file():
            return data.stat().st_size
    return 0


def _config(model_dir: Path) -> "IndexTTS2Config":
    from tritone.config import CONFIG_NAME
    from tritone.families.indextts2.config import IndexTTS2Config

    path = model_dir / CONFIG_NAME
    return IndexTTS2Config.of_content(parse_json(path), path)


def _emotion_model(model_dir: Path) -> int:
    """Bytes of its graph, as stored, and of the keys and values of the longest text. 0 where it is
    not loaded. Raises ModelDirectoryError for a file that is missing."""
    config = _config(model_dir).emotion_model
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
