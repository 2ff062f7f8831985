"""The language model on TensorRT-LLM's LLM API (1.0 and later, PyTorch backend).

It reads the merged Hugging Face checkpoint as it is; no engine is built. Only ids go in and out: no
tokenizer is loaded. The backend's Qwen2 has no bias at its head and does not know repetition-aware
sampling, so every request carries a logits processor that adds both (`SpeechLogits`), the bias with
the ban on text ids. The API's `embedding_bias` would do for the bias alone, but it is uploaded for
every token (TensorRT-LLM issue 17436).

The processor needs two settings that cost speed: no overlap of steps, since it must see the last
token, and a worker in this process, since others take only processors of NVIDIA's own. The second
also spares the start of MPI processes.

API: tensorrt_llm/llmapi/llm.py (`LLM.generate_async`, `RequestOutput.abort`), sampling_params.py.
"""

import asyncio
import importlib
import os
import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tritone.arrays import Int32
from tritone.errors import EnvironmentProblem, StageFailed
from tritone.llm.bias import logit_bias
from tritone.llm.checkpoint import LLM_DIR, WEIGHTS_NAME
from tritone.llm.config import SpokenConfig
from tritone.llm.contract import Generation, GenerationRequest
from tritone.llm.external import RuntimeFeed, RuntimeStats, prompt_ids
from tritone.llm.generation import STAGE, FeedGeneration
from tritone.llm.sampler import Sampler
from tritone.llm.trtllm.importing import import_tensorrt_llm, installed_version
from tritone.llm.trtllm.speech_logits import HeadBias, SpeechLogits
from tritone.llm.validation import check_generation, check_load
from tritone.loading.steps import step

_DTYPES = {"bf16": "bfloat16", "fp16": "float16"}


class LlmApiLanguageModel:
    """`tritone.llm.contract.LanguageModel` on an opened `tensorrt_llm.LLM`.

    sampling_params: the class tensorrt_llm.SamplingParams. bias: of the checkpoint.
    positions: of one generation, prompt included. slots: generations that advance together, and
    max_waiting more may wait.
    """

    def __init__(
        self,
        llm: Any,
        sampling_params: Callable[..., Any],
        config: SpokenConfig,
        bias: HeadBias,
        *,
        positions: int,
        slots: int,
        max_waiting: int,
    ) -> None:
        self._llm, self._params, self._config, self._bias = llm, sampling_params, config, bias
        self._positions, self._slots, self._max_waiting = positions, slots, max_waiting
        self._stop_ids = frozenset(config.llm.stop_ids)
        self._running: set[RuntimeFeed] = set()
        self._tokens = 0
        self._closed = False
        self._lock = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="tritone-llm", daemon=True)
        self._thread.start()

    def submit(self, request: GenerationRequest) -> Generation:
        """Queue a generation and return at once.

        Raises InvalidRequest, Overloaded when max_waiting requests wait already, and StageFailed
        after `close`.
        """
        ids = prompt_ids(request)
        check_generation(request, self._config.llm, self._positions)
        feed = RuntimeFeed(request, self._positions, self._stop_ids, self._cancel)
        params = self._sampling_params(request, feed.longest)
        with self._lock:
            if self._closed:
                raise StageFailed(STAGE, "the language model is closed")
            check_load(len(self._running), self._slots, self._max_waiting)
            self._running.add(feed)
            asyncio.run_coroutine_threadsafe(self._generate(feed, ids, params), self._loop)
        return FeedGeneration(feed)

    def stats(self) -> RuntimeStats:
        """A snapshot."""
        with self._lock:
            return RuntimeStats(generations=len(self._running), tokens=self._tokens)

    def close(self) -> None:
        """Stop the runtime; generations still open end with StageFailed."""
        with self._lock:
            first, self._closed = not self._closed, True
        if not first:
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._llm.shutdown()

    def _sampling_params(self, request: GenerationRequest, longest: int) -> Any:
        """The runtime draws plainly; what it draws from is rewritten by the logits processor."""
        llm, given = self._config.llm, request.sampling
        end_id = llm.stop_ids[0]
        sampling = Sampler(self._config.sampling, given, end_id=end_id - llm.speech_offset)
        processor = SpeechLogits(
            self._bias,
            llm,
            self._config.sampling,
            sampling,
            min_tokens=request.min_tokens,
            prompt=len(request.prompt),
        )
        draw = {"top_k": 1} if sampling.top_k == 1 else {"top_p": 1.0, "temperature": 1.0}
        return self._params(
            end_id=end_id,
            pad_id=end_id,
            max_tokens=longest,
            stop_token_ids=list(llm.stop_ids),
            seed=secrets.randbits(63) if given.seed is None else given.seed,
            detokenize=False,
            logits_processor=processor,
            **draw,
        )

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
        for feed in self._running:
            feed.end(StageFailed(STAGE, "the language model was closed"))

    def _cancel(self, feed: RuntimeFeed) -> None:
        if not self._closed:
            self._loop.call_soon_threadsafe(_abort, feed)

    async def _generate(self, feed: RuntimeFeed, ids: Int32, params: Any) -> None:
        error = None
        try:
            await self._read(feed, ids, params)
        except Exception as failure:  # whatever broke this generation must not stop the others
            error = StageFailed(STAGE, str(failure) or type(failure).__name__)
        with self._lock:
            self._running.remove(feed)
        feed.end(error)

    async def _read(self, feed: RuntimeFeed, ids: Int32, params: Any) -> None:
        """Pass increments on until the generation ends or was aborted."""
        if feed.cancelled:
            return
        feed.handle = self._llm.generate_async(ids.tolist(), params, streaming=True)
        async for part in feed.handle:
            self._tokens += feed.emit(part.outputs[0].token_ids_diff)


def open_llm_api(
    model_dir: Path,
    config: SpokenConfig,
    *,
    dtype: str = "bf16",
    slots: int = 32,
    max_tokens: int = 2048,
    max_waiting: int = 64,
    kv_memory_fraction: float = 0.3,
    import_seconds: float = 180.0,
) -> LlmApiLanguageModel:
    """On the merged checkpoint, with the installed TensorRT-LLM 1.0 or later.

    dtype: of weights, keys and values: bf16 or fp16. slots: generations that advance together.
    max_tokens: of one, prompt included. max_waiting: more that may wait. kv_memory_fraction: of the
    GPU memory that is free once the weights are loaded, for the paged keys and values of all.
    import_seconds: longest time that importing tensorrt_llm may take.

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
        package.SamplingParams,
        config,
        HeadBias(torch.from_numpy(bias)),
        positions=positions,
        slots=slots,
        max_waiting=max_waiting,
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
