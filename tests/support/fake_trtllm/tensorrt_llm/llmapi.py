"""The LLM API of 1.x on its PyTorch backend, over random logits: what is drawn depends on the
tokens so far, on the logits processor and on one generator for all requests, as in the real one to
1.2, which reads no seed."""

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch


@dataclass(kw_only=True)
class KvCacheConfig:
    enable_block_reuse: bool = True
    free_gpu_memory_fraction: float | None = None


@dataclass(kw_only=True)
class SamplingParams:
    end_id: int | None = None
    pad_id: int | None = None
    max_tokens: int = 32
    stop_token_ids: list[int] | None = None
    logits_processor: Callable[..., None] | None = None
    top_k: int | None = None
    top_p: float | None = None
    seed: int | None = None
    temperature: float | None = None
    detokenize: bool = True


@dataclass
class CompletionOutput:
    token_ids: list[int] = field(default_factory=list)
    _last_token_ids_len: int = 0

    @property
    def token_ids_diff(self) -> list[int]:
        return self.token_ids[self._last_token_ids_len :]


class RequestOutput:
    def __init__(self, llm: "LLM", prompt: list[int], params: SamplingParams) -> None:
        self._llm, self._prompt, self._params = llm, prompt, params
        self._done = False
        self.outputs = [CompletionOutput()]
        self.aborted = False

    def abort(self) -> None:
        self.aborted = True

    def __aiter__(self) -> "RequestOutput":
        return self

    async def __anext__(self) -> "RequestOutput":
        if self._done:
            raise StopAsyncIteration
        await asyncio.sleep(self._llm.step_seconds)
        if self._llm.breaks_on is not None and self._llm.breaks_on in self._prompt:
            raise RuntimeError("CUDA error: out of luck")
        if self.aborted:
            self._done = True
            self.outputs[0]._last_token_ids_len = len(self.outputs[0].token_ids)
            return self
        self._step()
        return self

    def _step(self) -> None:
        output, params = self.outputs[0], self._params
        tokens = [*self._prompt, *output.token_ids]
        logits = self._llm.logits(tokens).view(1, 1, -1)
        processor = params.logits_processor
        assert processor is not None and 4 <= len(inspect.signature(processor).parameters) <= 5
        processor(7, logits, [tokens], None, None)
        token = self._choose(logits.view(-1))
        output._last_token_ids_len = len(output.token_ids)
        if token in (params.end_id, *(params.stop_token_ids or [])):
            self._done = True
        else:
            output.token_ids.append(token)
            self._done = len(output.token_ids) == params.max_tokens

    def _choose(self, logits: torch.Tensor) -> int:
        if self._params.top_k == 1:
            return int(logits.argmax())
        assert self._params.top_p == self._params.temperature == 1.0, "the processor samples"
        return int(torch.multinomial(logits.softmax(0), 1, generator=self._llm.generator))


class LLM:
    opened: ClassVar[list["LLM"]] = []

    def __init__(
        self,
        model: str,
        *,
        skip_tokenizer_init: bool = False,
        dtype: str = "auto",
        max_batch_size: int | None = None,
        max_seq_len: int | None = None,
        disable_overlap_scheduler: bool = False,
        kv_cache_config: KvCacheConfig | None = None,
    ) -> None:
        self.model, self.max_seq_len, self.dtype = model, max_seq_len, dtype
        self.options: dict[str, Any] = {
            "skip_tokenizer_init": skip_tokenizer_init,
            "max_batch_size": max_batch_size,
            "disable_overlap_scheduler": disable_overlap_scheduler,
            "kv_cache_config": kv_cache_config,
        }
        self.vocab_size = 0
        self.generator = torch.Generator().manual_seed(42)
        self.breaks_on: int | None = None
        self.step_seconds = 0.0
        self.outputs: list[RequestOutput] = []
        self.shut_down = False
        LLM.opened.append(self)

    def logits(self, tokens: list[int]) -> torch.Tensor:
        """Random, but the same for the same last token and number of tokens."""
        generator = torch.Generator().manual_seed(1000 * tokens[-1] + len(tokens))
        return 4 * torch.randn(self.vocab_size, generator=generator)

    def generate_async(
        self, inputs: list[int], sampling_params: SamplingParams, streaming: bool = False
    ) -> RequestOutput:
        assert streaming and all(type(token) is int for token in inputs)
        asyncio.get_running_loop()  # the result's queue belongs to the loop that asks
        self.outputs.append(RequestOutput(self, inputs, sampling_params))
        return self.outputs[-1]

    def shutdown(self) -> None:
        self.shut_down = True
