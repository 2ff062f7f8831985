"""What is asked of a conversion, and model directories of an older format."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tritone.checkpoints.steps import write_json
from tritone.config import CONFIG_NAME, FORMAT, ModelConfig, parse_json
from tritone.errors import ModelDirectoryError

DType = Literal["fp32", "fp16", "bf16"]


@dataclass(frozen=True)
class ConvertOptions:
    """dtype: of the stored weights, None keeps the source's. graphs: LLM precisions to build.

    merged_llm: a language model in Hugging Face form that takes the place of the released one.
    """

    dtype: DType | None = None
    graphs: tuple[str, ...] = ("int8",)
    merged_llm: Path | None = None


def upgrade(model_dir: Path) -> str:
    """Bring MODEL_DIR/config.json to the present format; what was done, in words.

    Raises ModelDirectoryError for a directory that is no model directory.
    """
    path = model_dir / CONFIG_NAME
    if not path.is_file():
        raise ModelDirectoryError(f"{path} does not exist: {model_dir} is no model directory")
    content = parse_json(path)
    if content.get("format") == FORMAT:
        return f"{path} is of format {FORMAT} already"
    family = content.get("family")
    if content.get("format") != 1 or not isinstance(family, str):
        raise ModelDirectoryError(
            f"{path}: format {content.get('format')!r} of family {family!r} is unknown; "
            "convert the released files again"
        )
    envelope: dict[str, Any] = {name: content.pop(name, None) for name in ModelConfig.model_fields}
    write_json(path, {**envelope, "format": FORMAT, family: content})
    return f"{path} is of format {FORMAT} now"
