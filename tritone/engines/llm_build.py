"""The tasks that convert the language model's checkpoint and build its TensorRT-LLM engine."""

import os
import shlex
import shutil
import time
from collections.abc import Callable
from contextlib import closing

import torch

from tritone.arrays import Int32
from tritone.checkpoints.safetensors_file import Checkpoint
from tritone.config import CONFIG_NAME
from tritone.engines.acceptance import NATS, PROMPTS, TOKENS, example_texts, judge_language_model
from tritone.engines.machine import Machine
from tritone.engines.record import Verdict, settings_digest
from tritone.engines.sources import LLM, Sources
from tritone.engines.tasks import EngineBuild, Task
from tritone.errors import ModelDirectoryError, StageFailed
from tritone.llm.checkpoint import LLM_DIR, WEIGHTS_NAME, EmbeddingTable
from tritone.llm.torch.qwen2 import TorchQwen2
from tritone.llm.torch.slots import TorchSlots
from tritone.llm.trtllm.build import build_command, run_build
from tritone.llm.trtllm.checkpoint import Conversion
from tritone.llm.trtllm.checkpoint_config import CHECKPOINTS_DIR, CheckpointOptions
from tritone.llm.trtllm.engine_settings import EngineSettings, check_engine_config, settings_for
from tritone.llm.trtllm.executor import open_executor
from tritone.llm.trtllm.source_checkpoint import open_llm

BUILD_TIMEOUT_S = 3600.0
BUILD_LOG = "trtllm-build.log"


class LanguageModelBuild(EngineBuild):
    """Converts the checkpoint, then builds, checks and judges the engine of one machine.

    example_prompt: text ids (n,) to the ids of a whole prompt.
    """

    def __init__(
        self,
        sources: Sources,
        machine: Machine | None,
        dtype: str,
        example_prompt: Callable[[Int32], Int32],
    ) -> None:
        super().__init__(sources, machine, dtype)
        self._example_prompt, self._engine_dir = example_prompt, self._folder / LLM
        llm_dir = sources.model_dir / LLM_DIR
        self._weights = llm_dir / WEIGHTS_NAME
        self._options = CheckpointOptions(dtype)
        self._checkpoint = llm_dir / CHECKPOINTS_DIR / self._options.name

    def tasks(self) -> list[Task]:
        build = build_command(self._settings(), self._checkpoint, self._engine_dir)
        convert = Task(
            name="llm checkpoint",
            needs=(),
            plan=(f"{self._weights} in {self._dtype} -> {self._checkpoint}",),
            done=lambda: self._converted() is not None,
            run=self._convert,
        )
        engine = Task(
            name="llm engine",
            needs=(convert.name,),
            plan=(
                shlex.join(build),
                "a model of fewer positions gets smaller bounds, by its checkpoint",
                f"refused unless {PROMPTS * TOKENS} greedy tokens are each at most {NATS:g} nats "
                "below the best one of torch in float32",
            ),
            done=self._is_built,
            run=self._build,
        )
        return [convert, engine]

    def _settings(self) -> EngineSettings:
        """Those of the converted checkpoint; before there is one, of a model of many positions."""
        return self._converted() or EngineSettings(self._options)

    def _converted(self) -> EngineSettings | None:
        """Settings for the converted checkpoint, None before it is there and newer than weights."""
        written = self._checkpoint / CONFIG_NAME  # the last of its files
        try:
            settings = settings_for(self._checkpoint)
        except ModelDirectoryError:
            return None
        return settings if written.stat().st_mtime_ns >= self._weights.stat().st_mtime_ns else None

    def _convert(self) -> str:
        source = open_llm(self._sources.model_dir)
        files = Conversion(source, self._checkpoint, self._options).run()
        return f"{sum(path.stat().st_size for path in files) / 1e6:.1f} MB in {self._checkpoint}"

    def _is_built(self) -> bool:
        settings = self._settings()
        if not self._accepted(LLM, LLM, settings_digest(engine=settings)):
            return False
        try:
            check_engine_config(self._engine_dir, settings)
        except ModelDirectoryError:
            return False
        return True

    def _build(self) -> str:
        begin, settings = time.monotonic(), self._settings()
        self._folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self._engine_dir, ignore_errors=True)
        command = build_command(settings, self._checkpoint, self._engine_dir)
        log = self._folder / BUILD_LOG
        run_build(command, log, BUILD_TIMEOUT_S, os.environ)
        check_engine_config(self._engine_dir, settings)
        verdict = self._judge()
        nbytes = sum(path.stat().st_size for path in self._engine_dir.iterdir())
        self._keep(LLM, LLM, settings_digest(engine=settings), nbytes, begin, verdict)
        if not verdict.passed:
            raise StageFailed(LLM, f"its engine was refused: {verdict.problem}; see {log}")
        return f"{nbytes / 1e6:.1f} MB, {verdict.error:.2g} nats from the best token at worst"

    def _judge(self) -> Verdict:
        config, model_dir = self._sources.config, self._sources.model_dir
        checkpoint = Checkpoint(self._weights)
        prompts = [self._example_prompt(text) for text in example_texts(config.llm)]
        decoder = TorchQwen2(checkpoint, config.llm, torch.device("cpu"), torch.float32)
        session = TorchSlots(decoder, slots=1, slot_length=max(map(len, prompts)) + TOKENS)
        model = open_executor(
            model_dir,
            config,
            engine_dir=str(self._engine_dir),
            slots=4,
            kv_memory_fraction=0.1,
            repetition_penalty=1.0,
        )
        with closing(model):
            embed = EmbeddingTable(checkpoint)
            return judge_language_model(model, session, embed, config.llm, prompts)
