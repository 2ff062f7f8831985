"""The release's emotion model, where it is there, to the files that ONNX Runtime reads."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2.sandbox import ImmutableSandboxedEnvironment

from tritone.checkpoints.atomic_write import write_bytes, written_whole
from tritone.checkpoints.conversion import Step
from tritone.checkpoints.safetensors_file import Checkpoint
from tritone.config import CONFIG_NAME
from tritone.errors import ModelDirectoryError
from tritone.families.indextts2 import released_files as files
from tritone.families.indextts2.conversion_part import ConversionPart
from tritone.families.indextts2.emotion_model_config import POSITIONS, PRECISION
from tritone.families.indextts2.emotion_model_files import FOLDER
from tritone.frontend.text.tokenizer import TOKENIZER_NAME, is_control
from tritone.llm.checkpoint import WEIGHTS_NAME
from tritone.llm.onnx.graph import build
from tritone.llm.onnx.graph_files import graph_path
from tritone.llm.onnx.qwen3_graph import Qwen3Graph
from tritone.llm.qwen3 import Qwen3Config, qwen3_shapes, read_qwen3
from tritone.plain_json import parse_json

GENERATION, TEMPLATE, TOKENIZER_CONFIG = (
    "generation_config.json",
    "chat_template.jinja",
    "tokenizer_config.json",
)
_TASK = "文本情感分类"  # upstream's: emotion classification of a text
_TEXT = "\ue000"  # where the text goes
# Qwen3's own, of a dialogue without thoughts, where the release has none.
_USUAL = (
    f"<|im_start|>system\n{_TASK}<|im_end|>\n<|im_start|>user\n{_TEXT}<|im_end|>\n"
    "<|im_start|>assistant\n<think>\n\n</think>\n\n"
)


class EmotionModelConversion(ConversionPart):
    """One step, or none for a release without the model."""

    def steps(self) -> list[Step]:
        folder = self._released / files.EMOTION_MODEL
        if not folder.is_dir():
            return []
        optional = (GENERATION, TEMPLATE, TOKENIZER_CONFIG)
        names = [CONFIG_NAME, WEIGHTS_NAME, TOKENIZER_NAME]
        names += [name for name in optional if (folder / name).is_file()]
        graph = graph_path(Path(FOLDER), PRECISION).as_posix()
        written = [f"{FOLDER}/{WEIGHTS_NAME}", f"{FOLDER}/{TOKENIZER_NAME}", graph]
        inputs = [f"{files.EMOTION_MODEL}/{name}" for name in names]
        return [self._step("emotion model", self.emotion_model, inputs, written)]

    def emotion_model(self) -> dict[str, Any]:
        source, target = self._released / files.EMOTION_MODEL, self._target / FOLDER
        decoder = read_qwen3(source)
        longest = min(POSITIONS, decoder.max_position_embeddings)
        decoder = decoder.model_copy(update={"max_position_embeddings": longest})
        _check_weights(source / WEIGHTS_NAME, decoder)
        opening, closing = _asked(source)
        target.mkdir(exist_ok=True)
        _write_tokenizer(source / TOKENIZER_NAME, target / TOKENIZER_NAME)
        with written_whole(target / WEIGHTS_NAME) as path:
            shutil.copyfile(source / WEIGHTS_NAME, path)
        build(Qwen3Graph, target, decoder, PRECISION)
        return {
            "decoder": decoder.model_dump(mode="json"),
            "opening": opening,
            "closing": closing,
            "end_ids": _ends(source),
        }


def _check_weights(path: Path, config: Qwen3Config) -> None:
    """Raises ModelDirectoryError for the first tensor that is missing or of another shape."""
    file = Checkpoint(path)
    there = set(file)
    for name, shape in qwen3_shapes(config).items():
        found = file.spec(name).shape if name in there else None
        if found != shape:
            said = "is missing" if found is None else f"has shape {found}"
            raise ModelDirectoryError(f"{path}: {name} {said}; config.json makes it {shape}")


def _write_tokenizer(source: Path, target: Path) -> None:
    """With its control tokens <|...|> marked as such: what people write must not reach them."""
    content = parse_json(source)
    tokens = content.get("added_tokens", [])
    try:
        for token in tokens:
            token["special"] = token["special"] or is_control(token["content"])
    except (AttributeError, KeyError, TypeError) as error:
        raise ModelDirectoryError(
            f"{source}: added_tokens is {tokens!r:.200}; it must list objects with content and "
            "special"
        ) from error
    write_bytes(target, json.dumps(content, ensure_ascii=False).encode())


def _asked(folder: Path) -> tuple[str, str]:
    """What stands before and after a text. Raises ModelDirectoryError for a template that cannot
    be used."""
    template, path = _template(folder)
    rendered = _USUAL if template is None else _rendered(template, path)
    opening, mark, closing = rendered.partition(_TEXT)
    if not mark or _TEXT in closing:
        raise ModelDirectoryError(f"{path}: does not say the user's words once")
    return opening, closing


def _template(folder: Path) -> tuple[str | None, Path]:
    """And the file that has it, or could have it."""
    if (path := folder / TEMPLATE).is_file():
        try:
            return path.read_text(encoding="utf-8"), path
        except ValueError as error:
            raise ModelDirectoryError(f"{path}: is not UTF-8 ({error})") from error
    path = folder / TOKENIZER_CONFIG
    found = parse_json(path).get("chat_template") if path.is_file() else None
    if not isinstance(found, str | None):
        raise ModelDirectoryError(
            f"{path}: chat_template is {found!r:.200}; one template, a string, is supported"
        )
    return found, path


def _rendered(template: str, path: Path) -> str:
    """As Hugging Face's tokenizers do, in a sandbox: it is a program that came with the release."""
    messages = [{"role": "system", "content": _TASK}, {"role": "user", "content": _TEXT}]
    dialogue: Mapping[str, Any] = {
        "messages": messages,
        "add_generation_prompt": True,
        "enable_thinking": False,
    }
    try:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        return environment.from_string(template).render(dialogue)
    except Exception as error:  # a program may raise any
        raise ModelDirectoryError(f"{path}: cannot be used as a template: {error}") from error


def _ends(folder: Path) -> list[int]:
    """Raises ModelDirectoryError where no end is named, and for a model that draws its answers."""
    content: dict[str, Any] = {}
    for path in (folder / CONFIG_NAME, folder / GENERATION):
        content |= parse_json(path) if path.is_file() else {}
    if content.get("do_sample"):
        raise ModelDirectoryError(
            f"{folder / GENERATION}: do_sample is true; an answer is the likeliest one here"
        )
    found = content.get("eos_token_id")
    listed = found if isinstance(found, list) else [found]
    ends = [end for end in listed if isinstance(end, int)]
    if not ends or len(ends) < len(listed):
        raise ModelDirectoryError(f"{folder}: eos_token_id is {found!r}; it must be an id or ids")
    return ends
