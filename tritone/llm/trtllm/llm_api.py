"""The language model on TensorRT-LLM's LLM API (1.0 and later, PyTorch backend).

It reads the merged checkpoint as it is; no engine is built and no tokenizer loaded. The backend's
Qwen2 has no bias at its head, does not know repetition-aware sampling and, to 1.2, reads no seed of
a request, so every request carries a logits processor that does all three (`SpeechLogits`). The
API's `embedding_bias` would do for the bias alone, but it is uploaded for every token (TensorRT-LLM
issue 17436). The processor costs speed twice: no overlap of steps, since it must see the last
token, and a worker in this process, since others take only processors of NVIDIA's own; that spares
the start of MPI processes, though.

API: tensorrt_llm/llmapi/llm.py (`LLM.generate_async`, `RequestOutput.abort`), sampling_params.py.
"""

import asyncio
import importlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch

from tritone.errors import EnvironmentProblem, StageFailed
from tritone.llm.checkpoint import LLM_DIR, WEIGHTS_NAME, logit_bias
from tritone.llm.config import SpokenConfig
from tritone.llm.external import ExternalLanguageModel, Limits, RuntimeFeed
from tritone.llm.generation import STAGE
from tritone.llm.sampler import Sampler
from tritone.llm.trtllm.environment import import_tensorrt_llm, installed_version
from tritone.llm.trtllm.speech_logits import BiasOn, SpeechLogits, Uniforms
from tritone.loading.steps import step

_DTYPES = {"bf16": "bfloat16", "fp16": "float16"}


class LlmApiLanguageModel(ExternalLanguageModel):
    """On an opened `tensorrt_llm.LLM`.

    sampling_params: the class tensorrt_llm.SamplingParams. bias: of the checkpoint's head.
    """

    def __init__(
        self,
        llm: Any,
        config: SpokenConfig,
        limits: Limits,
        *,
        sampling_params: Callable[..., Any],
        bias: BiasOn,
    ) -> None:
        self._params, self._bias = sampling_params, bias
        self._loop = asyncio.new_event_loop()
        super().__init__(llm, config, limits)

    def close(self) -> None:
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._loop.call_soon_threadsafe(self._loop.stop)
        super().close()

    def _enqueue(
        self, feed: RuntimeFeed, ids: list[int], sampler: Sampler, seed: int
    ) -> RuntimeFeed:
        """The runtime takes the likeliest token; the logits processor has drawn which that is."""
        llm, sampling, least = self._config.llm, self._config.sampling, feed.request.min_tokens
        processor = SpeechLogits(
            self._bias, llm, sampling, sampler, least, len(ids), Uniforms(seed)
        )
        params = self._params(
            end_id=llm.stop_ids[0],
            pad_id=llm.stop_ids[0],
            max_tokens=feed.longest,
            stop_token_ids=list(llm.stop_words),
            top_k=1,
            detokenize=False,
            logits_processor=processor,
        )
        asyncio.run_coroutine_threadsafe(self._generate(feed, ids, params), self._loop)
        return feed

    def _cancel(self, feed: RuntimeFeed) -> None:
        if not self._closed:
            self._loop.call_soon_threadsafe(_abort, feed)

    def _run(self) -> None:
        """The thread of the event loop."""
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self._loop.run_until_complete(asyncio.wait(tasks))
        self._loop.close()
        self._finish_all("the language model was closed")

    async def _generate(self, feed: RuntimeFeed, ids: list[int], params: Any) -> None:
        """Pass increments on until the generation ends or was aborted."""
        error = None
        try:
            if not feed.cancelled:
                feed.handle = self._runtime.generate_async(ids, params, streaming=True)
                async for part in feed.handle:
                    feed.emit(part.outputs[0].token_ids_diff)
        except Exception as failure:  # whatever broke this generation must not stop the others
            error = StageFailed(STAGE, str(failure) or type(failure).__name__)
        self._finish(feed, error)


def open_llm_api(
    model_dir: Path,
    config: SpokenConfig,
    *,
    dtype: str = "bf16",
    slots: int = 64,
    max_tokens: int = 2048,
    max_waiting: int = 64,
    kv_memory_fraction: float = 0.3,
    import_seconds: float = 180.0,
) -> LlmApiLanguageModel:
    """On the merged checkpoint, with the installed TensorRT-LLM 1.0 or later.

    dtype: of weights, keys and values: bf16 or fp16. max_tokens: of a generation, prompt included.
    The others are those of `open_executor`.

    Raises ModelDirectoryError for a damaged checkpoint and EnvironmentProblem when tensorrt_llm is
    missing, too old or cannot be imported.
    """
    _check(dtype, installed_version())
    bias = logit_bias(model_dir, config.llm)
    os.environ.setdefault("TLLM_WORKER_USE_SINGLE_PROCESS", "1")  # read when an LLM is made
    package = import_tensorrt_llm(import_seconds)
    positions = min(max_tokens, config.llm.max_position_embeddings)
    with step("LLM weights", model_dir / LLM_DIR / WEIGHTS_NAME):
        llm = package.LLM(
            model=str(model_dir / LLM_DIR),
            skip_tokenizer_init=True,
            dtype=_DTYPES[dtype],
            max_batch_size=slots,
            max_seq_len=positions,
            disable_overlap_scheduler=True,
            kv_cache_config=importlib.import_module("tensorrt_llm.llmapi").KvCacheConfig(
                enable_block_reuse=True, free_gpu_memory_fraction=kv_memory_fraction
            ),
        )
    return LlmApiLanguageModel(
        llm,
        config,
        Limits(positions, positions, slots, max_waiting),
        sampling_params=package.SamplingParams,
        bias=cache(torch.from_numpy(bias).to),
    )


def _check(dtype: str, version: str) -> None:
    if dtype not in _DTYPES:
        raise EnvironmentProblem(f"dtype is {dtype!r}; take one of {', '.join(_DTYPES)}")
    if version.startswith("0."):
        raise EnvironmentProblem(
            f"TensorRT-LLM {version} is installed and the LLM API on PyTorch begins with 1.0: use "
            "the profile gpu, which is for 0.20, or gpu-torch"
        )


def _abort(feed: RuntimeFeed) -> None:
    """In the event loop: a request that was not handed to the runtime yet will not be."""
    if feed.handle is not None:
        feed.handle.abort()
