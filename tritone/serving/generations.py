"""The generations that the model `tensorrt_llm` runs, and how their tokens are sent."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np

from tritone.errors import Cancelled, InvalidRequest
from tritone.llm.contract import (
    Generation,
    GenerationRequest,
    Increment,
    LanguageModel,
    MoreText,
)
from tritone.llm.portions import Portions
from tritone.serving.cancellation import CallerWatch
from tritone.serving.failures import late_failure
from tritone.serving.generation_tensors import LATENTS, SAID, by_wire_name
from tritone.serving.messages import respond, response, tensor
from tritone.serving.metrics import Gauge


class Generations:
    """most: that run or wait at a time. rate: tokens in a second of speech."""

    def __init__(
        self, language_model: LanguageModel, most: int, stage: str, rate: float = 25.0
    ) -> None:
        self._language_model, self._stage, self._rate = language_model, stage, rate
        self._gauge = Gauge("tritone_llm_generations", "Generations running or waiting")
        self._running: dict[str, Generation] = {}  # by request id: a `stop` request names it so
        self._counting = threading.Lock()
        self._pool = ThreadPoolExecutor(most, thread_name_prefix="generation")

    def start(self, request_id: str, request: GenerationRequest, sender: Any) -> None:
        """Queue a generation; its tokens are sent as they come. Errors as for `submit`."""
        with by_wire_name():
            generation = self._language_model.submit(request)
        with self._counted():
            self._running[request_id] = generation
        self._pool.submit(self._send, generation, sender, request_id)

    def stop(self, request_id: str, sender: Any) -> None:
        """Cancel a generation; what is left to answer is nothing, and is here, as in `extend`."""
        if not request_id:
            raise InvalidRequest("stop", "needs the id of the request to stop")
        generation = self._running.get(request_id)
        if generation:
            generation.cancel()
        with respond(sender, self._stage) as send:
            send(_nothing_yet())

    def extend(self, request_id: str, more: MoreText, sender: Any) -> None:
        """Add to the text of a generation, if it still runs. It is answered here: those who wait
        for text may have taken all threads."""
        if not request_id:
            raise InvalidRequest("extend", "needs the id of the request whose text it is")
        generation = self._running.get(request_id)
        if generation:
            with by_wire_name():
                generation.extend(more)
        with respond(sender, self._stage) as send:
            send(_nothing_yet())

    def _send(self, generation: Generation | None, sender: Any, request_id: str) -> None:
        caller = CallerWatch(sender)
        with respond(sender, self._stage) as send:
            try:
                # A caller in this server gets its hands on the stream with the first response, and
                # holds up others until then: do not let it wait for the prompt.
                send(_nothing_yet())
                portions = Portions(self._rate)
                for increment in generation or ():
                    send(_response(increment))
                    if generation and caller.gone():
                        generation.cancel()
                    time.sleep(portions.pause(len(increment)))
            except Cancelled:
                pass  # as with the TensorRT-LLM backend, a stopped generation ends without an error
            except Exception as error:
                send(late_failure(error, self._stage))
            finally:
                with self._counted():
                    if generation and self._running.get(request_id) is generation:
                        del self._running[request_id]

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """What runs changes, and its number is told in the same order: of two that end at once, the
        one that leaves none must not be told before the other."""
        with self._counting:
            yield
            self._gauge.set(len(self._running))

    def close(self) -> None:
        self._language_model.close()
        self._pool.shutdown(wait=True)
        self._gauge.close()


def _nothing_yet() -> Any:
    return response(tensor("sequence_length", np.zeros((1, 1), np.int32)))


def _response(increment: Increment) -> Any:
    if not len(increment):
        return _nothing_yet()
    length = np.array([[len(increment)]], dtype=np.int32)
    outputs = [tensor("output_ids", increment.ids[None, None]), tensor("sequence_length", length)]
    if increment.said is not None:
        outputs.append(tensor(SAID, increment.said[None, None]))
    if increment.latents is not None:
        outputs.append(tensor(LATENTS, increment.latents[None, None]))
    return response(*outputs)
