"""The model repository of profile gpu-backend, whose configuration must name the engine.

Triton expands no variables, and NVIDIA's backend takes a missing path for an empty one. So the
server gets a copy of the configuration with the engine's path in it, beside links to all the rest.
"""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from tritone.launcher.cached import made_at_once
from tritone.launcher.settings import ServerSettings
from tritone.llm.trtllm.engine_folder import find_engine

PLACEHOLDER = '"/engine"'
"""Value of gpt_model_path in the repository: where a container may mount the engine."""

_LLM = "tensorrt_llm"


def with_engine(settings: ServerSettings) -> ServerSettings:
    """Settings whose repository names the engine of the model directory; others as they are.

    Raises ModelDirectoryError when there is no engine, or more than one.
    """
    if settings.profile != "gpu-backend":
        return settings
    repository = settings.model_repository.resolve()
    config = repository / _LLM / "configs" / f"{settings.profile}.pbtxt"
    text = config.read_text(encoding="utf-8")
    if PLACEHOLDER not in text:
        return settings  # somebody wrote a path of their own
    engine = find_engine(settings.served_model).resolve()
    text = text.replace(PLACEHOLDER, json.dumps(str(engine)))
    models = sorted(path.name for path in repository.iterdir())
    digest = hashlib.sha256(f"{repository}\n{models}\n{text}".encode()).hexdigest()[:16]
    target = settings.cache_dir.resolve() / "repositories" / digest
    if not target.is_dir():
        _make(repository, text, config.name, target)
    return replace(settings, model_repository=target)


def _make(repository: Path, text: str, config_name: str, target: Path) -> None:
    with made_at_once(target) as draft:
        for model in repository.iterdir():
            if model.name != _LLM:
                (draft / model.name).symlink_to(model)
        (draft / _LLM / "configs").mkdir(parents=True)
        for version in (repository / _LLM).glob("[0-9]*"):
            (draft / _LLM / version.name).symlink_to(version)
        (draft / _LLM / "configs" / config_name).write_text(text, encoding="utf-8")
