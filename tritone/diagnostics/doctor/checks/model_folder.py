"""What a folder is that should be a model directory, and how to make it one."""

from pathlib import Path

from tritone.families.cosyvoice2.released_files import FLOW, HIFT, LLM, YAML

# As the modules name them that read them, which import torch and ONNX Runtime.
WEIGHTS = ("flow.safetensors", "vocoder.safetensors", "llm/model.safetensors")
CLONING = ("speech_tokenizer.onnx", "speaker_encoder.onnx")


def is_release(folder: Path) -> bool:
    """Whether it holds files as they are released, and no converted ones."""
    released = any((folder / name).exists() for name in (YAML, LLM, FLOW, HIFT))
    return released and not (folder / "config.json").is_file()


def no_model(folder: Path) -> str:
    """Why there is no model directory to look at; empty if there is one."""
    if not folder.is_dir():
        return f"{folder} does not exist"
    there = (folder / "config.json").is_file()
    return "" if there else f"{folder} is no model directory: model.config says more"


def convert(source: Path | str = "RELEASE_DIR", target: Path | str = "models/cosyvoice2") -> str:
    """The command that makes a model directory of a release."""
    return f"python scripts/convert.py {source} {target}"
