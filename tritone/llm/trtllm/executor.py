"""The language model on TensorRT-LLM's C++ Executor (Python bindings of 0.20).

Its responses come for all generations together; one thread here hands each to its own. What it
lacks is the bias of the speech head and the ban on all other ids, which every request brings as
`embedding_bias`, and repetition-aware sampling: a repetition penalty stands in for it, except for
greedy decoding, a plain argmax on every runtime. The penalty counts the prompt too, so that a
cloned voice is penalised for its own recording's tokens. Stop words cost about 100 bytes a request
that 0.20 never frees (TensorRT-LLM issue 5509).

API: cpp/tensorrt_llm/pybind/executor of TensorRT-LLM 0.20 (`Executor`, `Request`, `Response`).
"""

import importlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tritone.errors import EnvironmentProblem, StageFailed
from tritone.llm.checkpoint import logit_bias
from tritone.llm.config import SpokenConfig
from tritone.llm.external import REPETITION_PENALTY, ExternalLanguageModel, Limits, RuntimeFeed
from tritone.llm.generation import STAGE
from tritone.llm.runtimes import EngineCheck
from tritone.llm.sampler import Sampler
from tritone.llm.trtllm.engine_folder import check_engine, find_engine, read_engine
from tritone.llm.trtllm.environment import import_tensorrt_llm, installed_version
from tritone.loading.steps import step

_LENGTHS = 4  # kept of each number of generations
_AWAIT = timedelta(milliseconds=100)  # an upper bound for `close`; responses end the wait at once


class ExecutorLanguageModel(ExternalLanguageModel):
    """On an opened Executor.

    bindings: the module tensorrt_llm.bindings.executor. bias: (vocab_size,) float32, added to the
    logits.
    """

    def __init__(
        self,
        executor: Any,
        config: SpokenConfig,
        limits: Limits,
        *,
        bindings: Any,
        bias: Tensor,
        repetition_penalty: float,
    ) -> None:
        self._bindings, self._bias, self._penalty = bindings, bias, repetition_penalty
        super().__init__(executor, config, limits)

    def _enqueue(self, feed: RuntimeFeed, ids: list[int], sampler: Sampler, seed: int) -> int:
        stop_words = self._config.llm.stop_words
        call = self._bindings.Request(
            input_token_ids=ids,
            max_tokens=feed.longest,
            streaming=True,
            sampling_config=self._bindings.SamplingConfig(
                top_k=sampler.top_k,
                top_p=sampler.top_p,
                temperature=sampler.temperature,
                seed=seed,  # the Executor's own default is the same one for every request
                min_tokens=feed.request.min_tokens,
                repetition_penalty=1.0 if sampler.top_k == 1 else self._penalty,
            ),
            output_config=self._bindings.OutputConfig(exclude_input_from_output=True),
            end_id=stop_words[0],
            pad_id=stop_words[0],
            stop_words=[[stop_id] for stop_id in stop_words],
            embedding_bias=self._bias,
        )
        try:
            feed.handle = request_id = int(self._runtime.enqueue_request(call))
        except Exception as error:
            raise StageFailed(STAGE, _first_line(error)) from error
        return request_id

    def _cancel(self, feed: RuntimeFeed) -> None:
        """The Executor's functions are thread-safe. A last response follows."""
        if not self._closed:
            self._runtime.cancel_request(feed.handle)

    def _run(self) -> None:
        problem = "the language model was closed"
        try:
            while self._wait_for_work():
                for response in self._runtime.await_responses(_AWAIT):
                    self._deliver(response)
        except Exception as error:  # nobody above this thread could tell the generations
            problem = f"the language model broke down, restart the server: {_first_line(error)}"
        finally:
            self._finish_all(problem)

    def _wait_for_work(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._running)
            return not self._closed

    def _deliver(self, response: Any) -> None:
        """Pass what one response says on to its generation."""
        with self._changed:
            feed = self._running.get(response.request_id)
        if feed is None:
            return  # it ended with an error before
        if response.has_error():
            self._finish(feed.handle, StageFailed(STAGE, _first_line(response.error_msg)))
            return
        feed.emit(response.result.output_token_ids[0])
        if response.result.is_final:
            self._finish(feed.handle, None)


def open_executor(
    model_dir: Path,
    config: SpokenConfig,
    check: EngineCheck | None = None,
    *,
    device: str = "cuda",
    engine_dir: str = "",
    slots: int = 64,
    max_waiting: int = 64,
    kv_memory_fraction: float = 0.3,
    repetition_penalty: float = REPETITION_PENALTY,
    import_seconds: float = 120.0,
) -> ExecutorLanguageModel:
    """On an engine that trtllm-build 0.20 made for this GPU.

    device: cuda or cuda:N. engine_dir: of the engine, which is taken as it is; "" takes the only
    one under MODEL_DIR/engines, if `check` lets it pass: it was built here, from these weights, and
    accepted.
    slots, max_waiting: as in `Limits`; slots is at most the engine's max_batch_size.
    kv_memory_fraction: of the GPU memory that is free once the weights are loaded, for the paged
    keys and values of all; flow and vocoder need the rest. import_seconds: longest time that
    importing tensorrt_llm may take.

    Raises ModelDirectoryError for a missing engine or another model's and EnvironmentProblem for an
    unknown device, and when tensorrt_llm cannot be imported or is of another version than the
    engine.
    """
    index = _gpu_index(device)
    engine = read_engine(find_engine(model_dir, engine_dir))
    if check is not None and not engine_dir:
        with step("LLM engine check", engine.path):
            check(model_dir, config, engine.path)
    llm = config.llm
    check_engine(engine, vocab_size=llm.vocab_size, slots=slots, version=installed_version())
    bias = logit_bias(model_dir, llm)
    import_tensorrt_llm(import_seconds)
    bindings = importlib.import_module("tensorrt_llm.bindings.executor")
    with step("LLM weights", engine.path):
        executor = _executor(bindings, engine.path, index, slots, kv_memory_fraction)
    return ExecutorLanguageModel(
        executor,
        config,
        Limits(engine.positions, engine.max_input_len, slots, max_waiting),
        bindings=bindings,
        bias=torch.from_numpy(bias),
        repetition_penalty=repetition_penalty,
    )


def _gpu_index(device: str) -> int:
    kind, colon, index = device.partition(":")
    if kind != "cuda" or (colon and not index.isdecimal()):
        raise EnvironmentProblem(f"device {device!r} is unknown; take cuda or cuda:N")
    return int(index or 0)


def _executor(bindings: Any, engine: Path, gpu: int, slots: int, kv_memory_fraction: float) -> Any:
    """Under CUDA graphs, since the kernels of so small a model are shorter than their launches: one
    for each number of generations and each 256 positions of the longest, of 4 to 10 MB
    (TensorRT-LLM's own estimate). What is no longer kept is recorded anew, inside a step."""
    knobs = bindings.ExtendedRuntimePerfKnobConfig()  # its constructor does not take these two
    knobs.cuda_graph_mode = True
    knobs.cuda_graph_cache_size = _LENGTHS * slots
    cache = bindings.KvCacheConfig(
        enable_block_reuse=True, free_gpu_memory_fraction=kv_memory_fraction
    )
    config = bindings.ExecutorConfig(
        max_beam_width=1,
        max_batch_size=slots,
        kv_cache_config=cache,
        parallel_config=bindings.ParallelConfig(device_ids=[gpu]),
        extended_runtime_perf_knob_config=knobs,
    )
    return bindings.Executor(str(engine), bindings.ModelType.DECODER_ONLY, config)


def _first_line(error: object) -> str:
    """Messages of the C++ runtime carry a stack trace."""
    return (str(error).strip().splitlines() or ["no message"])[0]
