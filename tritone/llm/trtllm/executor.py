"""The language model on TensorRT-LLM's C++ Executor (Python bindings of 0.20).

The Executor batches and schedules by itself. Here one thread takes its responses, which come for
all generations together, and hands each to its own. What the Executor lacks:

- the bias of the speech head and the ban on all other ids: `embedding_bias` of every request;
- repetition-aware sampling: a repetition penalty stands in for it, except for greedy decoding,
  which is a plain argmax on every runtime. The penalty counts the prompt too, so that a cloned
  voice is penalised for its own recording's tokens.

Stop words cost about 100 bytes a request that 0.20 never frees (TensorRT-LLM issue 5509).

API: cpp/tensorrt_llm/pybind/executor of TensorRT-LLM 0.20 (`Executor`, `Request`, `Response`).
"""

import importlib
import secrets
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tritone.arrays import Int32
from tritone.errors import StageFailed
from tritone.llm.bias import logit_bias
from tritone.llm.config import SpokenConfig
from tritone.llm.contract import Generation, GenerationRequest
from tritone.llm.external import REPETITION_PENALTY, RuntimeFeed, RuntimeStats, prompt_ids
from tritone.llm.generation import STAGE, FeedGeneration
from tritone.llm.runtimes import EngineCheck
from tritone.llm.sampler import Sampler
from tritone.llm.trtllm.engine_folder import check_engine, find_engine, read_engine
from tritone.llm.trtllm.importing import import_tensorrt_llm, installed_version
from tritone.llm.validation import check_generation, check_load
from tritone.loading.steps import step

_AWAIT = timedelta(milliseconds=100)  # an upper bound for `close`; responses end the wait at once


class ExecutorLanguageModel:
    """`tritone.llm.contract.LanguageModel` on an opened Executor.

    bindings: the module tensorrt_llm.bindings.executor. bias: (vocab_size,) float32 torch tensor
    added to the logits. positions: of one generation, prompt included; longest_prompt: of them,
    for the prompt. slots: generations that advance together, and max_waiting more may wait.
    """

    def __init__(
        self,
        bindings: Any,
        executor: Any,
        config: SpokenConfig,
        bias: Tensor,
        *,
        positions: int,
        longest_prompt: int,
        slots: int,
        max_waiting: int,
        repetition_penalty: float,
    ) -> None:
        self._bindings, self._executor, self._config = bindings, executor, config
        self._bias, self._positions, self._longest_prompt = bias, positions, longest_prompt
        self._slots, self._max_waiting = slots, max_waiting
        self._penalty = repetition_penalty
        self._stop_ids = frozenset(config.llm.stop_ids)
        self._running: dict[int, RuntimeFeed] = {}  # by the Executor's request id
        self._tokens = 0
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="tritone-llm", daemon=True)
        self._thread.start()

    def submit(self, request: GenerationRequest) -> Generation:
        """Queue a generation and return at once.

        Raises InvalidRequest, Overloaded when max_waiting requests wait already, and StageFailed
        after `close` or when the Executor refuses the request.
        """
        ids = prompt_ids(request)
        # a prompt may fill all that is allowed of it, and one position more must be there to speak
        room = min(self._positions, self._longest_prompt + 1)
        check_generation(request, self._config.llm, room)
        feed = RuntimeFeed(request, self._positions, self._stop_ids, self._cancel)
        call = self._call(request, ids, feed.longest)
        with self._changed:
            if self._closed:
                raise StageFailed(STAGE, "the language model is closed")
            check_load(len(self._running), self._slots, self._max_waiting)
            try:
                # under the lock, since the first response may come before this returns
                feed.handle = self._executor.enqueue_request(call)
            except Exception as error:
                raise StageFailed(STAGE, _first_line(error)) from error
            self._running[feed.handle] = feed
            self._changed.notify()
        return FeedGeneration(feed)

    def stats(self) -> RuntimeStats:
        """A snapshot."""
        with self._changed:
            return RuntimeStats(generations=len(self._running), tokens=self._tokens)

    def close(self) -> None:
        """Stop the Executor; generations still open end with StageFailed."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        self._executor.shutdown()

    def _cancel(self, feed: RuntimeFeed) -> None:
        """Without a lock: the Executor's functions are thread-safe. A last response follows."""
        if not self._closed:
            self._executor.cancel_request(feed.handle)

    def _call(self, request: GenerationRequest, ids: Int32, longest: int) -> Any:
        """The request in the Executor's terms."""
        llm, given = self._config.llm, request.sampling
        end_id = llm.stop_ids[0]
        sampling = Sampler(self._config.sampling, given, end_id=end_id - llm.speech_offset)
        return self._bindings.Request(
            input_token_ids=ids.tolist(),
            max_tokens=longest,
            streaming=True,
            sampling_config=self._bindings.SamplingConfig(
                top_k=sampling.top_k,
                top_p=sampling.top_p,
                temperature=sampling.temperature,
                # the Executor's own default is the same seed for every request
                seed=secrets.randbits(63) if given.seed is None else given.seed,
                min_tokens=request.min_tokens,
                repetition_penalty=1.0 if sampling.top_k == 1 else self._penalty,
            ),
            output_config=self._bindings.OutputConfig(exclude_input_from_output=True),
            end_id=end_id,
            pad_id=end_id,
            stop_words=[[stop_id] for stop_id in llm.stop_ids],
            embedding_bias=self._bias,
        )

    def _run(self) -> None:
        problem = "the language model was closed"
        try:
            while self._wait_for_work():
                for response in self._executor.await_responses(_AWAIT):
                    self._deliver(response)
        except Exception as error:  # nobody above this thread could tell the generations
            problem = f"the language model broke down, restart the server: {_first_line(error)}"
        finally:
            with self._changed:
                self._closed = True
                left, self._running = self._running, {}
            for feed in left.values():
                feed.end(StageFailed(STAGE, problem))

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
        error, over = None, True
        if response.has_error():
            error = StageFailed(STAGE, _first_line(response.error_msg))
        else:
            self._tokens += feed.emit(response.result.output_token_ids[0])
            over = response.result.is_final
        if over:
            with self._changed:
                del self._running[response.request_id]
            feed.end(error)


def open_executor(
    model_dir: Path,
    config: SpokenConfig,
    check: EngineCheck | None = None,
    *,
    engine_dir: str = "",
    slots: int = 32,
    max_waiting: int = 64,
    kv_memory_fraction: float = 0.3,
    repetition_penalty: float = REPETITION_PENALTY,
    import_seconds: float = 120.0,
) -> ExecutorLanguageModel:
    """On an engine that trtllm-build 0.20 made for this GPU.

    engine_dir: of the engine, which is taken as it is; "" takes the only one under
    MODEL_DIR/engines, if `check` lets it pass: it was built here, from these weights, and accepted.
    slots: generations that advance together, at most the engine's max_batch_size. max_waiting: more
    that may wait. kv_memory_fraction: of the GPU memory that is free once the weights are loaded,
    for the paged keys and values of all generations; blocks of equal prompts are shared. The flow
    and the vocoder need the rest. import_seconds: longest time that importing tensorrt_llm may
    take.

    Raises ModelDirectoryError for a missing engine or another model's and EnvironmentProblem when
    tensorrt_llm cannot be imported or is of another version than the engine.
    """
    engine = read_engine(find_engine(model_dir, engine_dir))
    if check is not None and not engine_dir:
        with step("LLM engine check", engine.path):
            check(model_dir, config, engine.path)
    check_engine(engine, config.llm, slots=slots, version=installed_version())
    bias = logit_bias(model_dir, config.llm)
    import_tensorrt_llm(import_seconds)
    bindings = importlib.import_module("tensorrt_llm.bindings.executor")
    with step("LLM weights", engine.path):
        executor = _executor(bindings, engine.path, slots, kv_memory_fraction)
    return ExecutorLanguageModel(
        bindings,
        executor,
        config,
        torch.from_numpy(bias),
        positions=engine.positions,
        longest_prompt=engine.max_input_len,
        slots=slots,
        max_waiting=max_waiting,
        repetition_penalty=repetition_penalty,
    )


def _executor(bindings: Any, engine: Path, slots: int, kv_memory_fraction: float) -> Any:
    cache = bindings.KvCacheConfig(
        enable_block_reuse=True, free_gpu_memory_fraction=kv_memory_fraction
    )
    config = bindings.ExecutorConfig(max_beam_width=1, max_batch_size=slots, kv_cache_config=cache)
    return bindings.Executor(str(engine), bindings.ModelType.DECODER_ONLY, config)


def _first_line(error: object) -> str:
    """Messages of the C++ runtime carry a stack trace."""
    return (str(error).strip().splitlines() or ["no message"])[0]
