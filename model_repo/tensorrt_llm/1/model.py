"""The language model on one of our runtimes, behind the tensors of the TensorRT-LLM backend."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tritone.errors import Cancelled, InvalidRequest
from tritone.families import read_config
from tritone.llm.runtimes import runtime_named, warm_up
from tritone.serving.generation import read_generation
from tritone.serving.load_log import staged
from tritone.serving.metrics import Gauge
from tritone.serving.parameters import given_parameters, model_directory, parameters
from tritone.serving.replies import respond
from tritone.serving.tensors import Inputs, response, tensor

STAGE = "tensorrt_llm"
# A response costs about a millisecond, as much as a token of a small model: 15 that take 15 ms came
# after 32. Where tokens come so fast several go in one response; where they come slowly none waits.
PAUSE_S = 0.004


class TritonPythonModel:
    @staged(STAGE)
    def initialize(self, args):
        runtime = runtime_named(given_parameters(args).get("runtime"))
        values = parameters(args, runtime="", **runtime.parameters())
        values.pop("runtime")
        model_dir = model_directory(args)
        config = read_config(model_dir)
        self._engine = runtime.open(model_dir, config, **values)
        warm_up(self._engine, config.llm)
        self._gauge = Gauge("tritone_llm_generations", "Generations running or waiting")
        self._running = {}  # request id -> generation: a `stop` request names it so
        most = values["slots"] + values["max_waiting"]
        self._pool = ThreadPoolExecutor(most, thread_name_prefix="generation")

    def execute(self, requests):
        for request in requests:
            sender, request_id = request.get_response_sender(), request.request_id()
            try:
                inputs = Inputs(request)
                if inputs.flag("stop"):
                    generation = self._stop(request_id)
                else:
                    generation = self._engine.submit(read_generation(inputs))
                    self._running[request_id] = generation
                    self._gauge.set(len(self._running))
            except Exception:
                with respond(sender, STAGE):
                    raise
            else:
                self._pool.submit(self._send, generation, sender, request_id)

    def _stop(self, request_id):
        """Cancel a generation; what is left to answer is nothing."""
        if not request_id:
            raise InvalidRequest("stop", "needs the id of the request to stop")
        generation = self._running.get(request_id)
        if generation:
            generation.cancel()
        return ()

    def _send(self, generation, sender, request_id):
        with respond(sender, STAGE) as send:
            try:
                # A caller in this server gets its hands on the stream with the first response, and
                # holds up others until then: do not let it wait for the prompt.
                send(response(tensor("sequence_length", np.zeros((1, 1), np.int32))))
                for ids in generation:
                    length = np.array([[ids.size]], dtype=np.int32)
                    send(
                        response(
                            tensor("output_ids", ids[None, None]),
                            tensor("sequence_length", length),
                        )
                    )
                    if sender.is_cancelled():
                        generation.cancel()
                    time.sleep(PAUSE_S)
            except Cancelled:
                pass  # as with the TensorRT-LLM backend, a stopped generation ends without an error
            finally:
                if self._running.get(request_id) is generation:
                    del self._running[request_id]
                    self._gauge.set(len(self._running))

    def finalize(self):
        self._engine.close()
        self._pool.shutdown(wait=True)
        self._gauge.close()
