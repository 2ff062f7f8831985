"""The language model to convert: a directory in Hugging Face form, checked before any work."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tritone.checkpoints.safetensors_file import Checkpoint
from tritone.checkpoints.verify import is_lfs_pointer
from tritone.config import CONFIG_NAME
from tritone.errors import ModelDirectoryError
from tritone.llm import checkpoint as names
from tritone.llm.config import Qwen2Config
from tritone.llm.trtllm.checkpoint_config import STORAGE
from tritone.plain_json import parse_json

WHAT_TO_GIVE = (
    "give a model directory (`tritone convert` writes it) or a Qwen2 in Hugging Face form "
    f"with its weights in one {names.WEIGHTS_NAME}"
)
ROTARY_BUFFER = ".rotary_emb.inv_freq"  # old exports store it; it follows from rope_theta


@dataclass(frozen=True)
class SourceLLM:
    """A Qwen2 in Hugging Face form.

    in_model_directory: it is the `llm` of a Tritone model directory. tied: as config.json says.
    head: tensor of the output rows. biased_rows: finite rows of lm_head.bias, None without one.
    """

    directory: Path
    in_model_directory: bool
    config: Qwen2Config
    weights: Checkpoint
    tied: bool
    head: str
    biased_rows: int | None


def open_llm(model_dir: Path) -> SourceLLM:
    """Open `model_dir`/llm of a Tritone model directory, or `model_dir` itself.

    Raises ModelDirectoryError, with what to do, for a directory that is neither, files that did not
    arrive whole, tensors that are not as config.json says, and a head whose bias is lost.
    """
    directory = model_dir / "llm" if (model_dir / "llm").is_dir() else model_dir
    parent = directory.resolve().parent
    in_model_directory = directory.name == "llm" and (parent / CONFIG_NAME).is_file()
    _check_files(directory)
    config = names.read_qwen2(directory)
    try:
        weights = Checkpoint(directory / names.WEIGHTS_NAME)
    except ModelDirectoryError as error:
        again = "convert the release again" if in_model_directory else "download it again"
        raise ModelDirectoryError(f"{error}; {again}") from error
    settings = parse_json(directory / CONFIG_NAME)
    tied = bool(settings.get("tie_word_embeddings", False))
    head = names.EMBEDDING if tied and names.HEAD not in weights else names.HEAD
    _check_tensors(weights, config, head)
    if names.HEAD_BIAS in weights:
        biased_rows = _biased_rows(weights)
    elif in_model_directory or settings.get("use_bias", False):
        raise ModelDirectoryError(
            f"{weights.path}: {names.HEAD_BIAS} is missing (a plain Qwen2 export drops it) and "
            "text ids would be spoken without it; convert the release again with `tritone convert`"
        )
    else:
        biased_rows = None
    return SourceLLM(directory, in_model_directory, config, weights, tied, head, biased_rows)


def _check_files(directory: Path) -> None:
    """Raise ModelDirectoryError for another kind of directory and for pointers to files."""
    if not directory.is_dir():
        raise ModelDirectoryError(f"{directory} is not a directory; {WHAT_TO_GIVE}")
    problem = ""
    if any(directory.glob("*.yaml")) and any(directory.glob("*.pt")):
        problem = f"is a release: run `tritone convert {directory} MODEL_DIR`, then give MODEL_DIR"
    elif (directory / f"{names.WEIGHTS_NAME}.index.json").is_file():
        problem = f"has its weights in several files; save them as one {names.WEIGHTS_NAME}"
    if problem:
        raise ModelDirectoryError(f"{directory} {problem}")
    for path in (directory / CONFIG_NAME, directory / names.WEIGHTS_NAME):
        if not path.is_file():
            raise ModelDirectoryError(f"{path} does not exist; {WHAT_TO_GIVE}")
        if is_lfs_pointer(path):
            raise ModelDirectoryError(
                f"{path} is a Git LFS pointer, not the file itself: run `git lfs pull` there"
            )


def _check_tensors(weights: Checkpoint, config: Qwen2Config, head: str) -> None:
    """Raise ModelDirectoryError naming missing, unexpected and misshapen tensors (at most 8)."""
    expected = _expected_shapes(config, head)
    optional = {names.HEAD: expected[names.EMBEDDING], names.HEAD_BIAS: (config.vocab_size,)}
    problems = [f"{name} is missing" for name in expected if name not in weights]
    for name in weights:
        shape = expected.get(name, optional.get(name))
        spec = weights.spec(name)
        if shape is None:
            if not name.endswith(ROTARY_BUFFER):
                problems.append(f"{name} has no place in a Qwen2")
        elif spec.shape != shape:
            problems.append(f"{name} has shape {spec.shape}, expected {shape}")
        elif spec.dtype not in STORAGE.values():
            known = ", ".join(STORAGE.values())
            problems.append(f"{name} is {spec.dtype}, expected one of {known}")
    if problems:
        more = f" and {len(problems) - 8} more" if len(problems) > 8 else ""
        raise ModelDirectoryError(f"{weights.path}: {'; '.join(problems[:8])}{more}")


def _expected_shapes(config: Qwen2Config, head: str) -> dict[str, tuple[int, ...]]:
    table = (config.vocab_size, config.hidden_size)
    layer = names.layer_shapes(
        config.hidden_size,
        config.intermediate_size,
        config.num_attention_heads,
        config.num_key_value_heads,
    )
    layers = range(config.num_hidden_layers)
    shapes = {names.layer_name(i, part): shape for i in layers for part, shape in layer.items()}
    return {names.EMBEDDING: table, **shapes, names.FINAL_NORM: (config.hidden_size,), head: table}


def _biased_rows(weights: Checkpoint) -> int:
    """How many rows of the head may be sampled; the bias of the others is -inf."""
    allowed = np.isfinite(weights.float32(names.HEAD_BIAS))
    if not allowed.any():
        raise ModelDirectoryError(f"{weights.path}: {names.HEAD_BIAS} rules out every id")
    return int(allowed.sum())
