"""The Executor's bindings of 0.20: requests are recorded, and tests give the responses."""

import queue
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar

import torch


class ModelType(Enum):
    DECODER_ONLY = 0


@dataclass(kw_only=True)
class KvCacheConfig:
    enable_block_reuse: bool = True
    max_tokens: int | None = None
    free_gpu_memory_fraction: float | None = None


@dataclass
class ParallelConfig:
    communication_type: str = "MPI"
    communication_mode: str = "LEADER"
    device_ids: list[int] | None = None


class ExtendedRuntimePerfKnobConfig:
    """Its constructor takes two of its four settings."""

    __slots__ = (
        "cuda_graph_cache_size",
        "cuda_graph_mode",
        "enable_context_fmha_fp32_acc",
        "multi_block_mode",
    )

    def __init__(
        self, multi_block_mode: bool = True, enable_context_fmha_fp32_acc: bool = False
    ) -> None:
        self.multi_block_mode = multi_block_mode
        self.enable_context_fmha_fp32_acc = enable_context_fmha_fp32_acc
        self.cuda_graph_mode, self.cuda_graph_cache_size = False, 0


@dataclass
class ExecutorConfig:
    max_beam_width: int = 1
    kv_cache_config: KvCacheConfig = field(default_factory=KvCacheConfig)
    max_batch_size: int | None = None
    parallel_config: ParallelConfig | None = None
    extended_runtime_perf_knob_config: ExtendedRuntimePerfKnobConfig | None = None


@dataclass(kw_only=True)
class SamplingConfig:
    top_k: int | None = None
    top_p: float | None = None
    seed: int | None = None
    temperature: float | None = None
    min_tokens: int | None = None
    repetition_penalty: float | None = None

    def __post_init__(self) -> None:
        assert self.seed is None or 0 <= self.seed < 2**64
        assert self.top_p is None or 0 < self.top_p <= 1
        assert self.temperature is None or self.temperature > 0


@dataclass
class OutputConfig:
    exclude_input_from_output: bool = False


class Request:
    def __init__(
        self,
        input_token_ids: list[int],
        max_tokens: int,
        *,
        streaming: bool = False,
        sampling_config: SamplingConfig | None = None,
        output_config: OutputConfig | None = None,
        end_id: int | None = None,
        pad_id: int | None = None,
        stop_words: list[list[int]] | None = None,
        embedding_bias: torch.Tensor | None = None,
    ) -> None:
        assert all(type(token) is int for token in input_token_ids)  # as the bindings insist
        assert isinstance(embedding_bias, torch.Tensor) and embedding_bias.ndim == 1
        self.input_token_ids, self.max_tokens, self.streaming = (
            input_token_ids,
            max_tokens,
            streaming,
        )
        self.sampling_config, self.output_config = sampling_config, output_config
        self.end_id, self.pad_id, self.stop_words = end_id, pad_id, stop_words
        self.embedding_bias = embedding_bias


@dataclass
class Result:
    output_token_ids: list[list[int]]
    is_final: bool
    sequence_index: int = 0


class Response:
    def __init__(self, request_id: int, result: Result | None, error_msg: str = "") -> None:
        self.request_id, self._result, self._error = request_id, result, error_msg

    def has_error(self) -> bool:
        return self._result is None

    @property
    def error_msg(self) -> str:
        assert self.has_error(), "an ordinary response has no error"
        return self._error

    @property
    def result(self) -> Result:
        assert self._result is not None, "an error has no result"
        return self._result


class Executor:
    """`give` and `fail` are the tests' own; the rest is the bindings' interface."""

    opened: ClassVar[list["Executor"]] = []

    def __init__(
        self, model_path: Path | str, model_type: ModelType, executor_config: ExecutorConfig
    ) -> None:
        self.model_path, self.model_type, self.config = model_path, model_type, executor_config
        self.requests: dict[int, Request] = {}
        self.cancelled: list[int] = []
        self.refuses = ""
        self.shut_down = False
        self._responses: queue.SimpleQueue[Any] = queue.SimpleQueue()
        Executor.opened.append(self)

    def enqueue_request(self, request: Request) -> int:
        if self.refuses:
            raise RuntimeError(self.refuses)
        number = len(self.requests) + 1
        self.requests[number] = request
        return number

    def await_responses(self, timeout: timedelta | None = None) -> list[Response]:
        assert timeout is not None, "without a limit it would not end with the executor"
        try:
            first = self._responses.get(timeout=timeout.total_seconds())
        except queue.Empty:
            return []
        if isinstance(first, Exception):
            raise first
        return [first]

    def cancel_request(self, id: int) -> None:
        assert not self.shut_down
        self.cancelled.append(id)

    def shutdown(self) -> None:
        self.shut_down = True

    def give(self, number: int, ids: list[int], *, final: bool = False) -> None:
        self._responses.put(Response(number, Result([ids], final)))

    def fail(self, number: int, message: str) -> None:
        self._responses.put(Response(number, None, message))

    def break_down(self, error: Exception) -> None:
        self._responses.put(error)
